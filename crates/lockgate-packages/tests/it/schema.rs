//! The schema files: valid, complete, and in step with the code.

use std::sync::Arc;

use lockgate_engine::provider::Providers;
use lockgate_model::schema::{PropertyKind, PropertySchema};
use lockgate_packages::Packages;
use lockgate_packages::images::Images;

use crate::support::{FakeImages, FakeNode, settings};

fn packages() -> Packages {
    let images: Arc<dyn Images> = Arc::new(FakeImages::default());
    let node = Arc::new(FakeNode::default());
    Packages::new(settings(
        std::path::Path::new("/"),
        &node,
        &images,
        &Arc::default(),
    ))
}

#[test]
fn every_schema_file_is_valid_and_documented() {
    let packages = packages();
    for name in packages.packages() {
        let schema = packages.schema(&name).unwrap();
        assert_eq!(schema.name, name);
        let functions = schema.functions.iter();
        let functions = functions.map(|(token, f)| (token, &f.description, &f.inputs, &f.outputs));
        let resources = schema.resources.iter();
        let resources = resources.map(|(token, r)| (token, &r.description, &r.inputs, &r.outputs));
        for (token, description, inputs, outputs) in resources.chain(functions) {
            assert!(token.starts_with(&format!("{name}:")), "{token}");
            assert!(!description.is_empty(), "{token}");
            for (property, schema) in inputs.iter().chain(outputs) {
                documented(&format!("{token} {property}"), schema);
            }
            // What goes in comes out, so that programs can refer to it.
            assert!(inputs.keys().all(|p| outputs.contains_key(p)), "{token}");
        }
    }
}

fn documented(at: &str, schema: &PropertySchema) {
    assert!(!schema.description.is_empty(), "{at}");
    assert!(!(schema.required && schema.default.is_some()), "{at}");
    if let PropertyKind::Object(inner) = &schema.kind {
        for (name, schema) in inner {
            documented(&format!("{at}.{name}"), schema);
        }
    }
}

/// Every property that code reads by name stands in a schema, and the other way round: a property
/// that no code names would be accepted and have no effect.
#[test]
fn code_and_schema_name_the_same_properties() {
    let sources = [
        (
            "command",
            include_str!("../../src/command/kind.rs").to_owned(),
        ),
        (
            "random",
            [
                include_str!("../../src/random/kinds.rs"),
                include_str!("../../src/random/text.rs"),
            ]
            .concat(),
        ),
        (
            "lockgate",
            [
                include_str!("../../src/lockgate/ai/model.rs"),
                include_str!("../../src/lockgate/ai/route.rs"),
                include_str!("../../src/lockgate/ai/vendor.rs"),
                include_str!("../../src/lockgate/api_key.rs"),
                include_str!("../../src/lockgate/build.rs"),
                include_str!("../../src/lockgate/consumer.rs"),
                include_str!("../../src/lockgate/gate.rs"),
                include_str!("../../src/lockgate/pin.rs"),
                include_str!("../../src/lockgate/push.rs"),
                include_str!("../../src/lockgate/route.rs"),
                include_str!("../../src/lockgate/service.rs"),
                include_str!("../../src/lockgate/tls.rs"),
            ]
            .concat(),
        ),
    ];
    // Inputs that only say "make a new one": the schema's replacement rule is all they do; and
    // `rule` has one value so far.
    let silent = ["keepers", "triggers", "rule"];
    let packages = packages();
    for (name, source) in sources {
        let schema = packages.schema(name).unwrap();
        let mut names = Vec::new();
        for resource in schema.resources.values() {
            for (property, schema) in resource.inputs.iter().chain(&resource.outputs) {
                collect(property, schema, &mut names);
            }
        }
        for property in &names {
            let used = source.contains(&format!("\"{property}\""));
            assert!(
                used || silent.contains(&property.as_str()),
                "{name}: `{property}` is not read"
            );
        }
        for call in [
            "bag::text(",
            "bag::boolean(",
            "bag::integer(",
            "bag::texts(",
            "bag::list(",
        ] {
            for rest in source.split(call).skip(1) {
                let mut quoted = rest.split('"');
                let Some(property) = quoted.nth(1).filter(|_| rest.find(')') > rest.find('"'))
                else {
                    continue;
                };
                let known = names.iter().any(|n| n == property)
                    || schema
                        .functions
                        .values()
                        .any(|f| f.inputs.contains_key(property));
                assert!(
                    known,
                    "{name}: code reads `{property}`, which no schema has"
                );
            }
        }
    }
}

fn collect(name: &str, schema: &PropertySchema, names: &mut Vec<String>) {
    names.push(name.to_owned());
    collect_kind(&schema.kind, names);
}

fn collect_kind(kind: &PropertyKind, names: &mut Vec<String>) {
    match kind {
        PropertyKind::Object(inner) => {
            for (name, schema) in inner {
                collect(name, schema, names);
            }
        }
        PropertyKind::List(inner) | PropertyKind::Map(inner) => collect_kind(inner, names),
        PropertyKind::OneOf(kinds) => kinds.iter().for_each(|k| collect_kind(k, names)),
        _ => {}
    }
}
