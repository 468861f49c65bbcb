//! Deployments of other tools, all keys, and random round trips.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use lockgate_model::resource::{CustomTimeouts, PendingKind};
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource, ResourceReference};
use lockgate_model::{PropertyMap, Rng, Urn, Value};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

/// Counts upwards: every nonce differs, and runs repeat.
struct CountingRng(Mutex<u64>);

impl Rng for CountingRng {
    fn fill(&self, buffer: &mut [u8]) {
        let mut count = self.0.lock();
        for chunk in buffer.chunks_mut(8) {
            *count += 1;
            chunk.copy_from_slice(&count.to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) struct Fixture {
    _home: tempfile::TempDir,
    keyring: Keyring,
    pub(crate) secrets: SecretsManager,
}

/// Shared by random cases: a key file per case would cost two fsyncs.
pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(fixture);

pub(crate) fn fixture() -> Fixture {
    let home = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(home.path(), None, Arc::new(CountingRng(Mutex::new(0))));
    let secrets = keyring.create_local().unwrap();
    Fixture {
        _home: home,
        keyring,
        secrets,
    }
}

impl Fixture {
    fn encode(&self, snapshot: &Snapshot, shown: ExportedSecrets) -> String {
        let mut out = Vec::new();
        let time = Timestamp::from_secs(1_700_000_000);
        encode_deployment(&mut out, snapshot, &self.secrets, shown, time).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn decode(&self, text: &str) -> Result<Snapshot, DeploymentError> {
        decode_deployment(text, &self.keyring).map(|decoded| decoded.snapshot)
    }
}

/// Wraps entries the way an export does.
fn export_of(version: &str, resources: &str) -> String {
    format!("{{\"version\":{version},\"deployment\":{{\"resources\":[{resources}]}}}}")
}

const URN: &str = "urn:pulumi:dev::shop::random:index/randomId:RandomId::id";

/// Every key of the format that an entry can have, in the form other tools write.
const FULL: &str = r#"{"version":4,"features":["hooks","refreshBeforeUpdate","replaceWith","taint","views"],
"deployment":{"manifest":{"time":"2024-05-06T07:08:09.123456789+02:00","magic":"a1cbbf3d2e61f2c2ec31a8d8dd3f7ef4cca5e0c1aa4e51a9bd9c4e0e6ed8d0a5","version":"","plugins":[{"name":"random","version":"4.16.0"}]},
"resources":[
{"urn":"urn:pulumi:dev::shop::pulumi:providers:random::p","custom":true,"id":"pid","type":"pulumi:providers:random"},
{"urn":"urn:pulumi:dev::shop::random:index/randomId:RandomId::id","custom":true,"delete":true,"id":"x","type":"random:index/randomId:RandomId",
 "inputs":{"byteLength":4,"big":1e300,"half":0.5,"__defaults":[],"nan":{"4dabf18193072939515e22adb298388d":"8ad145fe-0d11-4827-bfd7-1abcbf086f5c","value":"7ff8000000000001"},
  "asset":{"4dabf18193072939515e22adb298388d":"c44067f5952c0a294b673a41bacd8c17","hash":"ab"},
  "archive":{"4dabf18193072939515e22adb298388d":"0def7320c3a5731c473e5ecbe6d01bc7","hash":"cd","assets":{"f":{"4dabf18193072939515e22adb298388d":"c44067f5952c0a294b673a41bacd8c17","path":"./f"}}},
  "ref":{"4dabf18193072939515e22adb298388d":"5cf8f73096256a8f31e491e813e4eb8e","urn":"urn:pulumi:dev::shop::pulumi:providers:random::p","id":"","packageVersion":"1.2.3"},
  "unknown":"3eeb2bf0-c639-47a8-9e75-3b44932eb421",
  "secret":{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","plaintext":"{\"a\":[1,\"b\"]}"}},
 "outputs":{"b64":"AA","nothing":null},"parent":"urn:pulumi:dev::shop::pulumi:providers:random::p","protect":true,"taint":true,"external":true,
 "dependencies":["urn:pulumi:dev::shop::pulumi:providers:random::p"],"initErrors":["slow"],"provider":"urn:pulumi:dev::shop::pulumi:providers:random::p::pid",
 "propertyDependencies":{"byteLength":["urn:pulumi:dev::shop::pulumi:providers:random::p"],"none":[]},"pendingReplacement":true,"additionalSecretOutputs":["b64"],
 "aliases":["urn:pulumi:dev::shop::random:index/randomId:RandomId::old"],"customTimeouts":{"create":30,"delete":0.5},"importID":"imp","retainOnDelete":true,
 "deletedWith":"urn:pulumi:dev::shop::pulumi:providers:random::p","replaceWith":["urn:pulumi:dev::shop::pulumi:providers:random::p"],
 "created":"2024-05-06T07:08:09Z","modified":"0001-01-01T00:00:00Z","sourcePosition":"project:///index.ts#1,2","stackTrace":[{"sourcePosition":"project:///index.ts#1,2"}],
 "ignoreChanges":["a"],"hideDiff":["b"],"replaceOnChanges":["c"],"replacementTrigger":{"t":1},"refreshBeforeUpdate":true,"viewOf":"urn:x","resourceHooks":{"before_create":["h"]},
 "futureKey":{"x":[1]}}],
"pending_operations":[{"resource":{"urn":"urn:pulumi:dev::shop::random:index/randomId:RandomId::new","custom":true,"type":"random:index/randomId:RandomId"},"type":"creating"},
 {"resource":{"urn":"urn:pulumi:dev::shop::random:index/randomId:RandomId::new2","custom":true,"type":"random:index/randomId:RandomId"},"type":"updating"}],
"metadata":{"integrity_error":{"version":"v1"}}}}"#;

fn full_text() -> String {
    FULL.replace(
        "a1cbbf3d2e61f2c2ec31a8d8dd3f7ef4cca5e0c1aa4e51a9bd9c4e0e6ed8d0a5",
        &hex::encode(Sha256::digest(b"")),
    )
}

#[test]
fn every_key_survives_a_round_trip() {
    let fixture = fixture();
    let snapshot = fixture.decode(&full_text()).unwrap();
    let state = &snapshot.resources[1];
    assert!(state.delete && state.protect && state.taint && state.external);
    assert!(state.pending_replacement && state.retain_on_delete);
    assert_eq!(state.custom_timeouts.delete, Some(0.5));
    assert_eq!(state.created, Some(Timestamp::from_secs(1_714_979_289)));
    assert_eq!(state.modified, None);
    assert_eq!(state.inputs["unknown"], Value::Unknown);
    assert!(matches!(&state.inputs["nan"], Value::Number(n) if n.is_nan()));
    assert_eq!(
        state.inputs["secret"].unsecret().as_map().unwrap()["a"],
        Value::List(vec![1.0.into(), "b".into()])
    );
    assert_eq!(
        state.extra.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "aliases",
            "futureKey",
            "hideDiff",
            "refreshBeforeUpdate",
            "replacementTrigger",
            "resourceHooks",
            "stackTrace",
            "viewOf"
        ]
    );
    assert_eq!(snapshot.pending.len(), 2);
    assert_eq!(snapshot.pending[1].kind, PendingKind::Updating);
    assert_ne!(
        snapshot.pending[0].idempotency_key,
        snapshot.pending[1].idempotency_key
    );

    let first = fixture.encode(&snapshot, ExportedSecrets::Encrypted);
    let again = fixture.decode(&first).unwrap();
    assert_eq!(fixture.encode(&again, ExportedSecrets::Encrypted), first);

    let mut ours: serde_json::Value =
        serde_json::from_str(&fixture.encode(&again, ExportedSecrets::Shown)).unwrap();
    let mut theirs: serde_json::Value = serde_json::from_str(&full_text()).unwrap();
    assert_eq!(ours["features"], theirs["features"]);
    assert_eq!(ours["version"], 4);
    let manifest = ours["deployment"]["manifest"].clone();
    assert_eq!(
        manifest["plugins"],
        theirs["deployment"]["manifest"]["plugins"]
    );
    assert_eq!(
        manifest["magic"],
        hex::encode(Sha256::digest(manifest["version"].as_str().unwrap()))
    );
    // What is ours by design, or absent and empty alike.
    let texts = [
        ("created", "2024-05-06T07:08:09Z"),
        ("modified", "0001-01-01T00:00:00Z"),
    ];
    for (key, text) in texts {
        assert_eq!(theirs["deployment"]["resources"][1][key], text);
    }
    let entry = &mut theirs["deployment"]["resources"][1];
    entry.as_object_mut().unwrap().remove("modified");
    entry["customTimeouts"]["create"] = 30.0.into();
    entry["inputs"]["asset"]["text"] = "".into();
    entry["inputs"]["unknown"] = "04da6b54-80e4-46f7-96ec-b56ff0331ba9".into();
    for operation in ours["deployment"]["pending_operations"]
        .as_array_mut()
        .unwrap()
    {
        operation.as_object_mut().unwrap().remove("idempotencyKey");
    }
    assert_eq!(ours["deployment"].get("secrets_providers"), None);
    for key in ["resources", "pending_operations", "metadata"] {
        assert_eq!(ours["deployment"][key], theirs["deployment"][key], "{key}");
    }
}

#[test]
fn old_and_foreign_forms_are_read_and_newer_ones_refused_by_name() {
    let fixture = fixture();
    let entry = format!(
        "{{\"urn\":\"{URN}\",\"custom\":true,\"type\":\"random:index/randomId:RandomId\",\
         \"inputs\":{{\"a\":1}},\"defaults\":{{\"a\":2,\"b\":3}}}}"
    );
    let old = fixture.decode(&export_of("1", &entry)).unwrap();
    assert_eq!(old.resources[0].inputs["a"], Value::from(1.0));
    assert_eq!(old.resources[0].inputs["b"], Value::from(3.0));
    for empty in [
        r#"{"version":3,"checkpoint":{"stack":"organization/p/s"}}"#,
        r#"{"version":3,"checkpoint":{"stack":"organization/p/s","latest":null}}"#,
        r#"{"version":3,"checkpoint":{"latest":{"resources":null}}}"#,
        r#"{"version":2,"deployment":{}}"#,
    ] {
        assert_eq!(fixture.decode(empty).unwrap(), Snapshot::default());
    }
    assert!(matches!(
        fixture.decode(&export_of("5", "")),
        Err(DeploymentError::Version(5))
    ));
    for feature in ["byteString", "teleport"] {
        let text = format!(r#"{{"version":4,"features":["{feature}"],"deployment":{{}}}}"#);
        let error = fixture.decode(&text).unwrap_err();
        assert!(error.to_string().contains(feature), "{error}");
    }
}

#[test]
fn broken_deployments_are_refused_with_the_place() {
    let fixture = fixture();
    let entry = |rest: &str| {
        export_of(
            "3",
            &format!(
                "{{\"urn\":\"{URN}\",\"custom\":true,\"type\":\"random:index/randomId:RandomId\"{rest}}}"
            ),
        )
    };
    let signed = |signature: &str, rest: &str| {
        entry(&format!(
            ",\"inputs\":{{\"p\":{{\"{SIGNATURE}\":\"{signature}\"{rest}}}}}"
        ))
    };
    for (text, words) in [
        (export_of("3", "{}"), "no `urn`"),
        (export_of("3", "{\"urn\":\"x\"}"), "not a resource URN"),
        (
            export_of("3", &format!("{{\"urn\":\"{URN}\"}}")),
            "its `type`",
        ),
        (
            entry(",\"parent\":\"urn:pulumi:dev::shop::a:b:C::gone\""),
            "as its parent",
        ),
        (entry(",\"custom\":3"), "`custom`"),
        (entry(",\"created\":\"yesterday\""), "RFC 3339"),
        (signed("1234", ""), "unknown signature"),
        (
            signed("1b47061264138c4ac30d75fd1eb44270", ""),
            "`ciphertext`",
        ),
        (
            signed(
                "1b47061264138c4ac30d75fd1eb44270",
                ",\"ciphertext\":\"v1:a:b\"",
            ),
            "none",
        ),
        (
            signed("8ad145fe-0d11-4827-bfd7-1abcbf086f5c", ",\"value\":\"7f\""),
            "hex",
        ),
        ("{\"version\":3}".to_owned(), "neither"),
        (
            r#"{"version":3,"deployment":{"manifest":{"version":"a","magic":"b"}}}"#.to_owned(),
            "magic",
        ),
    ] {
        let error = fixture.decode(&text).unwrap_err();
        let diagnostic = crate::StateError::from(error).to_diagnostic();
        let shown = format!("{} {:?}", diagnostic.message, diagnostic.causes);
        assert!(shown.contains(words), "{text}\n{shown}");
    }
}

#[test]
fn a_secret_in_a_wrong_place_is_not_quoted() {
    let fixture = fixture();
    let text = export_of(
        "3",
        &format!(
            "{{\"urn\":\"{URN}\",\"type\":\"random:index/randomId:RandomId\",\"protect\":\"hunter2\"}}"
        ),
    );
    let error = fixture.decode(&text).unwrap_err();
    let diagnostic = crate::StateError::from(error).to_diagnostic();
    assert!(!format!("{diagnostic:?}").contains("hunter2"));
}

#[test]
fn whole_numbers_have_no_fraction_and_cells_of_other_writers_are_kept() {
    let fixture = fixture();
    // Go escapes `<`; the cell must survive although we would not.
    let cell = fixture.secrets.encrypt(r#""a\u003cb""#).unwrap();
    let entry = format!(
        "{{\"urn\":\"{URN}\",\"custom\":true,\"type\":\"random:index/randomId:RandomId\",\"inputs\":{{\"n\":4,\
         \"s\":{{\"{SIGNATURE}\":\"1b47061264138c4ac30d75fd1eb44270\",\"ciphertext\":\"{cell}\"}}}}}}"
    );
    let config = fixture.encode(&Snapshot::default(), ExportedSecrets::Encrypted);
    let text = config.replace("\"resources\":[]", &format!("\"resources\":[{entry}]"));
    let snapshot = fixture.decode(&text).unwrap();
    assert_eq!(snapshot.resources[0].inputs["s"].as_str(), Some("a<b"));
    let again = fixture.encode(&snapshot, ExportedSecrets::Encrypted);
    assert!(again.contains(&cell), "{again}");
    assert!(again.contains("\"n\":4,"), "{again}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", any::<String>()]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::Unknown),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>()
            .prop_filter("a NaN is unequal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        (-9_007_199_254_740_992i64..=9_007_199_254_740_992).prop_map(|n| Value::Number(n as f64)),
        text().prop_map(Value::String),
        (proptest::option::of("[0-9a-f]{4}"), text(), 0..3).prop_map(|(hash, text, kind)| {
            let source = match kind {
                0 => AssetSource::Text(text),
                1 => AssetSource::Path(text),
                _ => AssetSource::Uri(text),
            };
            Value::Asset(Asset { hash, source })
        }),
        (
            proptest::option::of("[a-z]{0,4}"),
            proptest::option::of("[0-9.]{1,4}")
        )
            .prop_map(|(id, package_version)| Value::Reference(ResourceReference {
                urn: Urn::new("dev", "shop", None, "a:b:C", "n"),
                id,
                package_version,
            })),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let map = proptest::collection::btree_map(text(), inner.clone(), 0..5).boxed();
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            map.clone().prop_map(Value::Map),
            inner.prop_map(Value::into_secret),
            (proptest::option::of("[0-9a-f]{4}"), map).prop_map(|(hash, assets)| {
                Value::Archive(Archive {
                    hash,
                    source: ArchiveSource::Assets(assets),
                })
            }),
        ]
    })
}

pub(crate) fn any_properties() -> impl Strategy<Value = PropertyMap> {
    proptest::collection::btree_map(text(), any_value(), 0..4)
}

pub(crate) fn any_state() -> impl Strategy<Value = ResourceState> {
    (
        any_properties(),
        any_properties(),
        text(),
        any::<[bool; 6]>(),
        proptest::collection::vec(text(), 0..3),
        proptest::option::of(any::<i64>()),
        proptest::option::of(0.0..1e6),
    )
        .prop_map(
            |(inputs, outputs, id, flags, words, time, seconds)| ResourceState {
                urn: Some(Urn::new("dev", "shop", None, "a:b:C", "n")),
                custom: true,
                id,
                inputs,
                outputs,
                delete: flags[0],
                protect: flags[1],
                taint: flags[2],
                external: flags[3],
                pending_replacement: flags[4],
                retain_on_delete: flags[5],
                init_errors: words.clone(),
                ignore_changes: words,
                created: time.map(Timestamp),
                custom_timeouts: CustomTimeouts {
                    update: seconds,
                    ..CustomTimeouts::default()
                },
                extra: BTreeMap::from([("hideDiff".to_owned(), "[\"x\"]".to_owned())]),
                ..ResourceState::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_states_survive_a_round_trip(state in any_state()) {
        let fixture = &*FIXTURE;
        let snapshot = Snapshot {
            resources: vec![Arc::new(state.clone())],
            pending: vec![PendingOperation {
                resource: Arc::new(state),
                kind: PendingKind::Deleting,
                idempotency_key: "k".to_owned(),
            }],
            extra: BTreeMap::new(),
        };
        let cells = fixture.encode(&snapshot, ExportedSecrets::Encrypted);
        prop_assert_eq!(&fixture.decode(&cells).unwrap(), &snapshot);
        let shown = fixture.encode(&snapshot, ExportedSecrets::Shown);
        prop_assert_eq!(&fixture.decode(&shown).unwrap(), &snapshot);
        prop_assert_eq!(fixture.encode(&snapshot, ExportedSecrets::Encrypted), cells);
    }

    #[test]
    fn a_mangled_deployment_is_refused_or_consistent(
        at in 0..FULL.len(),
        removed in 0..40usize,
        added in "[{}\\[\\]\",:0-9a-z]{0,6}",
    ) {
        let mut text = full_text();
        let ends = [at, (at + removed).min(text.len())].map(|end| text.floor_char_boundary(end));
        text.replace_range(ends[0]..ends[1], &added);
        if let Ok(snapshot) = FIXTURE.decode(&text) {
            prop_assert!(check_integrity(&snapshot).is_ok());
            let again = FIXTURE.encode(&snapshot, ExportedSecrets::Encrypted);
            prop_assert!(FIXTURE.decode(&again).is_ok());
        }
    }
}
