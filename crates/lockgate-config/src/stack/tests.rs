//! Stack files: reading, and edits that leave comments and layout alone.

use std::collections::BTreeMap;

use lockgate_diag::SourceFile;
use lockgate_model::Value;
use proptest::prelude::*;

use super::{ConfigValue, StackConfig};

fn stack(text: &str) -> StackConfig {
    let (stack, found) = StackConfig::parse(&SourceFile::new("Pulumi.dev.yaml", text));
    assert_eq!(found, []);
    stack.expect("valid")
}

fn plain(text: &str) -> ConfigValue {
    ConfigValue::Plain(Value::from(text))
}

const TEXT: &str = "# who: me\nencryptionsalt: v1:abc=:v1:d:e\nconfig:\n  shop:size: 3 # small\n  \
                    shop:id: 0123\n  shop:key:\n    secure: v1:n:c\n  # the end\n  shop:db:\n    \
                    host: a\n    password:\n      secure: v1:x:y\n";

#[test]
fn values_and_ciphertexts_are_read() {
    let stack = stack(TEXT);
    assert_eq!(stack.encryption_salt.as_deref(), Some("v1:abc=:v1:d:e"));
    assert_eq!(
        stack.values["shop:size"],
        ConfigValue::Plain(Value::Number(3.0))
    );
    assert_eq!(stack.values["shop:id"], plain("0123"));
    assert_eq!(
        stack.values["shop:key"],
        ConfigValue::Secure("v1:n:c".into())
    );
    assert!(stack.values["shop:db"].is_secret());
    let clear = stack.values["shop:db"]
        .resolve(&mut |c| Ok::<_, ()>(format!("clear {c}")))
        .expect("decrypts");
    let map = clear.as_map().expect("a map");
    assert_eq!(map["password"], Value::from("clear v1:x:y").into_secret());
}

#[test]
fn an_edit_moves_only_the_bytes_of_its_entry() {
    let mut stack = stack(TEXT);
    stack.set("shop:size", plain("12")).expect("edited");
    assert_eq!(stack.file.text, TEXT.replace("size: 3", "size: \"12\""));
    stack.set("shop:key", plain("open")).expect("edited");
    stack.remove("shop:db").expect("removed");
    stack
        .set("shop:new", ConfigValue::Secure("v1:q:r".into()))
        .expect("added");
    assert_eq!(
        stack.file.text,
        "# who: me\nencryptionsalt: v1:abc=:v1:d:e\nconfig:\n  shop:size: \"12\" # small\n  \
         shop:id: 0123\n  shop:key: open\n  shop:new:\n    secure: v1:q:r\n  # the end\n"
    );
}

#[test]
fn unchanged_values_keep_the_text_byte_for_byte() {
    let mut stack = stack(TEXT);
    for (key, value) in stack.values.clone() {
        stack.set(&key, value).expect("no change");
    }
    assert_eq!(stack.file.text, TEXT);
}

#[test]
fn empty_and_flow_files_can_be_edited() {
    let mut empty = stack("");
    empty.set("a:b", plain("x y")).expect("added");
    empty.set_encryption_salt("v1:s").expect("added");
    assert_eq!(
        empty.file.text,
        "config:\n  a:b: \"x y\"\nencryptionsalt: v1:s\n"
    );
    assert!(empty.remove("a:b").expect("removed"));
    assert_eq!(empty.file.text, "encryptionsalt: v1:s\n");
    let mut flow = stack("config: {\"a:b\": 1, \"a:c\": 2}\n");
    flow.set("a:d", plain("z")).expect("added");
    flow.remove("a:b").expect("removed");
    assert_eq!(flow.file.text, "config: {\"a:c\": 2, a:d: z}\n");
}

#[test]
fn saving_replaces_the_file_whole() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("Pulumi.dev.yaml");
    let mut stack = StackConfig::load(&path).0.expect("missing is empty");
    stack.set("a:b", plain("c")).expect("added");
    stack.save(&path).expect("saved");
    assert_eq!(
        fs_err::read_to_string(&path).expect("read"),
        "config:\n  a:b: c\n"
    );
    assert_eq!(fs_err::read_dir(folder.path()).expect("list").count(), 1);
}

fn any_value() -> impl Strategy<Value = ConfigValue> {
    let leaf = prop_oneof![
        "\\PC{0,12}|[ \\n\\t\"'#:]{0,6}".prop_map(|s| plain(&s)),
        any::<bool>().prop_map(|b| ConfigValue::Plain(Value::Bool(b))),
        (-1000i32..1000).prop_map(|n| ConfigValue::Plain(Value::Number(f64::from(n)))),
        "v1:[a-z]{1,4}".prop_map(ConfigValue::Secure),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(ConfigValue::List),
            prop::collection::btree_map("[a-z]{1,4}", inner, 1..3).prop_map(ConfigValue::Map),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_set_reads_back(values in prop::collection::btree_map("[a-c]:[a-z]{1,3}", any_value(), 1..5)) {
        let mut stack = stack(TEXT);
        for (key, value) in &values {
            stack.set(key, value.clone()).expect("editable");
        }
        let mut expected: BTreeMap<_, _> = self::stack(TEXT).values;
        expected.extend(values);
        prop_assert_eq!(stack.values, expected);
    }
}
