//! The `pulumi` package: other stacks, and values that are kept.

use lockgate_engine::event::EngineEvent;
use lockgate_engine::provider::ProviderError;
use lockgate_model::PropertyMap;

use crate::support::{World, bag};

const REFERENCE: &str = "pulumi:pulumi:StackReference";
const STASH: &str = "pulumi:index:Stash";
const OUTPUTS: &str = "pulumi:pulumi:readStackOutputs";
const RESOURCES: &str = "pulumi:pulumi:readStackResourceOutputs";

#[tokio::test]
async fn a_stack_has_three_names_and_its_secrets_stay_secret() {
    let world = World::new("pulumi").await;
    for name in ["prod", "shop/prod", "organization/shop/prod"] {
        let read = world
            .read(REFERENCE, name, PropertyMap::new(), PropertyMap::new())
            .await
            .unwrap()
            .unwrap();
        let expected = format!(
            r#"{{"name": "{name}", "outputs": {{"host": "h", "key": {{"$secret": "k"}}}},
                "secretOutputNames": ["key"]}}"#
        );
        assert_eq!(read.outputs, bag(&expected));
        assert_eq!(read.id, name);
        let invoked = world.invoke(OUTPUTS, bag(&format!(r#"{{"name": "{name}"}}"#)));
        assert_eq!(invoked.await.unwrap().unwrap(), bag(&expected));
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_left_out_and_told() {
    let world = World::new("pulumi").await;
    let args = bag(r#"{"stackName": "prod"}"#);
    let read = world.invoke(RESOURCES, args).await.unwrap().unwrap();
    let expected = r#"{"stackName": "prod", "outputs": {
        "urn:pulumi:prod::shop::pulumi:pulumi:Stack::r": {"host": "h", "key": {"$secret": "k"}},
        "urn:pulumi:prod::shop::a:b:C::r": {"size": 3}}}"#;
    assert_eq!(read, bag(expected));
    let told = world.events.0.lock();
    let [EngineEvent::Message { text, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        text,
        "secret outputs of stack `prod` were left out \
         (urn:pulumi:prod::shop::pulumi:pulumi:Stack::r lost, \
         urn:pulumi:prod::shop::a:b:C::r lost): there is no passphrase"
    );
}

#[tokio::test]
async fn a_name_without_a_stack_lists_what_there_is() {
    let world = World::new("pulumi").await;
    for (name, message, hint) in [
        (
            "prd",
            "there is no stack `shop/prd`",
            "did you mean `shop/prod`",
        ),
        (
            "x/y",
            "there is no stack `x/y`",
            "stacks are shop/prod, other/dev",
        ),
        (
            "acme/shop/prod",
            "the stack `acme/shop/prod` is of the organization `acme`",
            "stacks that are kept in files have the organization `organization`; \
             write `organization/shop/prod`",
        ),
        (
            "a/b/c/d",
            "`a/b/c/d` names no stack",
            "write `stack`, `project/stack` or `organization/project/stack`",
        ),
    ] {
        let read = world.read(REFERENCE, name, PropertyMap::new(), PropertyMap::new());
        let Err(ProviderError::Failed { message: m, hints }) = read.await else {
            panic!("`{name}` was found");
        };
        assert_eq!(m, message);
        assert!(hints.iter().any(|h| h == hint), "{hints:?}");
    }
}

#[tokio::test]
async fn a_stash_keeps_its_first_value() {
    let world = World::new("pulumi").await;
    let first = bag(r#"{"input": {"$secret": "one"}}"#);
    for preview in [true, false] {
        let made = world.create(STASH, first.clone(), preview).await.unwrap();
        let both = r#"{"input": {"$secret": "one"}, "output": {"$secret": "one"}}"#;
        assert_eq!(made.outputs, bag(both));
        let next = bag(r#"{"input": [2]}"#);
        let updated = world.update(STASH, &made, first.clone(), next, preview);
        let kept = r#"{"input": [2], "output": {"$secret": "one"}}"#;
        assert_eq!(updated.await.unwrap(), bag(kept));
    }
}
