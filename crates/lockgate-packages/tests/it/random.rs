//! The `random` package.

use lockgate_engine::provider::{DiffChanges, DiffKind};
use lockgate_model::Value;

use crate::support::{World, bag};

const STRING: &str = "random:index/randomString:RandomString";
const PASSWORD: &str = "random:index/randomPassword:RandomPassword";
const ID: &str = "random:index/randomId:RandomId";
const INTEGER: &str = "random:index/randomInteger:RandomInteger";
const PET: &str = "random:index/randomPet:RandomPet";
const SHUFFLE: &str = "random:index/randomShuffle:RandomShuffle";
const UUID: &str = "random:index/randomUuid:RandomUuid";
const BYTES: &str = "random:index/randomBytes:RandomBytes";

#[tokio::test]
async fn strings_hold_at_least_what_was_asked_of_each_class() {
    let world = World::new("random").await;
    let inputs = bag(
        r#"{"length": 12, "minLower": 3, "minUpper": 3, "minNumeric": 3, "minSpecial": 3,
            "overrideSpecial": "_%"}"#,
    );
    let mut starts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let created = world.create(STRING, inputs.clone(), false).await.unwrap();
        let result = created.outputs["result"].as_str().unwrap();
        assert_eq!(created.id, result);
        starts.insert(result.chars().next().map(|c| {
            let class = [
                c.is_ascii_lowercase(),
                c.is_ascii_uppercase(),
                c.is_ascii_digit(),
            ];
            class.iter().position(|is| *is)
        }));
        let count = |test: fn(&char) -> bool| result.chars().filter(test).count();
        assert_eq!(count(char::is_ascii_lowercase), 3, "{result}");
        assert_eq!(count(char::is_ascii_uppercase), 3, "{result}");
        assert_eq!(count(char::is_ascii_digit), 3, "{result}");
        assert_eq!(count(|c| "_%".contains(*c)), 3, "{result}");
    }
    // The least ones of each class do not stand at the front.
    assert_eq!(starts.len(), 4);
    let created = world
        .create(STRING, bag(r#"{"length": 5, "number": false}"#), false)
        .await;
    let outputs = created.unwrap().outputs;
    assert_eq!(outputs["numeric"], Value::Bool(false));
    assert_eq!(outputs["special"], Value::Bool(true));
    assert_eq!(outputs["minLower"], Value::Number(0.0));
}

#[tokio::test]
async fn impossible_strings_are_refused_with_their_property() {
    let world = World::new("random").await;
    for (inputs, expected) in [
        ("{}", "length: is required, expected a whole number"),
        (r#"{"length": 0}"#, "length: expected 1 to 65536, found 0"),
        (
            r#"{"length": 1.5}"#,
            "length: expected a whole number, found a number",
        ),
        (
            r#"{"length": 2, "minLower": 2, "minUpper": 1}"#,
            "length: is 2, but the `min` properties ask for 3 characters",
        ),
        (
            r#"{"length": 2, "lower": false, "minLower": 1}"#,
            "minLower: asks for characters of a class that is switched off",
        ),
        (
            r#"{"length": 2, "lenght": 3}"#,
            "lenght: `lenght` is not a known property, did you mean `length`?",
        ),
    ] {
        assert_eq!(
            world.refused(STRING, bag(inputs)).await,
            [expected],
            "{inputs}"
        );
    }
}

#[tokio::test]
async fn passwords_are_secret_and_their_hash_verifies() {
    let world = World::new("random").await;
    let created = world
        .create(PASSWORD, bag(r#"{"length": 20}"#), false)
        .await
        .unwrap();
    assert_eq!(created.id, "none");
    for name in ["result", "bcryptHash"] {
        assert!(matches!(created.outputs[name], Value::Secret(_)), "{name}");
    }
    let result = created.outputs["result"].as_str().unwrap();
    let hash = created.outputs["bcryptHash"].as_str().unwrap();
    assert_eq!(result.len(), 20);
    assert!(hash.starts_with("$2a$10$"), "{hash}");
    assert!(bcrypt::verify(result, hash).unwrap());
    let preview = world
        .create(PASSWORD, bag(r#"{"length": 20}"#), true)
        .await
        .unwrap();
    assert_eq!(preview.id, "");
    assert_eq!(preview.outputs["result"], Value::Unknown.into_secret());
}

#[tokio::test]
async fn ids_have_four_forms_with_prefix() {
    let world = World::new("random").await;
    let inputs = bag(r#"{"byteLength": 8, "prefix": "p-"}"#);
    let created = world.create(ID, inputs.clone(), false).await.unwrap();
    let text = |name: &str| created.outputs[name].as_str().unwrap().to_owned();
    let hex = text("hex");
    let number = u64::from_str_radix(hex.strip_prefix("p-").unwrap(), 16).unwrap();
    assert_eq!(hex.len(), 18);
    assert_eq!(text("dec"), format!("p-{number}"));
    assert_eq!(text("b64Url"), format!("p-{}", created.id));
    assert!(text("b64Std").ends_with('='));
    // An import of the id leads to the same outputs.
    let import = format!("p-,{}", created.id);
    let read = world
        .read(ID, &import, bag("{}"), bag("{}"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.outputs, created.outputs);
    assert_eq!(read.inputs, Some(inputs));
}

#[tokio::test]
async fn integers_stay_in_their_bounds_and_repeat_by_seed() {
    let world = World::new("random").await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let created = world
            .create(INTEGER, bag(r#"{"min": -1, "max": 1}"#), false)
            .await
            .unwrap();
        assert_eq!(created.outputs["result"].to_string(), created.id);
        seen.insert(created.id);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["-1", "0", "1"]);
    let seeded = bag(r#"{"min": 1, "max": 1000000, "seed": "s"}"#);
    let first = world.create(INTEGER, seeded.clone(), false).await.unwrap();
    let second = world.create(INTEGER, seeded, false).await.unwrap();
    assert_eq!(first.id, second.id);
    let refused = world.refused(INTEGER, bag(r#"{"min": 2, "max": 1}"#)).await;
    assert_eq!(refused, ["max: is 1, below `min`, which is 2"]);
}

#[tokio::test]
async fn pets_have_as_many_words_as_asked() {
    let world = World::new("random").await;
    for (inputs, words) in [
        ("{}", 2),
        (r#"{"length": 1}"#, 1),
        (r#"{"length": 4}"#, 4),
        (r#"{"length": 2, "prefix": "x"}"#, 3),
    ] {
        let created = world.create(PET, bag(inputs), false).await.unwrap();
        assert_eq!(created.id.split('-').count(), words, "{}", created.id);
    }
    let created = world
        .create(PET, bag(r#"{"separator": "_"}"#), false)
        .await
        .unwrap();
    assert!(created.id.contains('_'), "{}", created.id);
}

#[tokio::test]
async fn shuffles_repeat_the_list_only_when_it_is_used_up() {
    let world = World::new("random").await;
    let inputs = bag(r#"{"inputs": ["a", "b", "c"], "resultCount": 7}"#);
    let created = world.create(SHUFFLE, inputs, false).await.unwrap();
    let results = created.outputs["results"].as_list().unwrap();
    assert_eq!(results.len(), 7);
    for round in results.chunks_exact(3) {
        let mut round: Vec<&str> = round.iter().filter_map(Value::as_str).collect();
        round.sort_unstable();
        assert_eq!(round, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn uuids_and_bytes_have_their_forms() {
    let world = World::new("random").await;
    let uuid = world.create(UUID, bag("{}"), false).await.unwrap().id;
    let parsed = uuid::Uuid::try_parse(&uuid).unwrap();
    assert_eq!(parsed.get_version_num(), 4);
    let bytes = world
        .create(BYTES, bag(r#"{"length": 5}"#), false)
        .await
        .unwrap();
    let hex = &bytes.outputs["hex"];
    assert!(matches!(hex, Value::Secret(_)));
    assert_eq!(hex.as_str().unwrap().len(), 10);
}

#[tokio::test]
async fn a_changed_keeper_replaces_and_a_default_written_out_does_not() {
    let world = World::new("random").await;
    let old = bag(r#"{"length": 5, "keepers": {"v": "1"}, "__defaults": []}"#);
    let new = bag(r#"{"length": 5, "keepers": {"v": "2"}}"#);
    let diff = world.diff(STRING, old.clone(), new).await;
    assert_eq!(diff.changes, DiffChanges::Some);
    assert_eq!(diff.replaces, ["keepers"]);
    assert_eq!(
        diff.detailed.unwrap()["keepers.v"].kind,
        DiffKind::UpdateReplace
    );
    let same = bag(r#"{"length": 5, "keepers": {"v": "1"}, "special": true}"#);
    let diff = world.diff(STRING, old, same).await;
    assert_eq!(diff.changes, DiffChanges::None);
}
