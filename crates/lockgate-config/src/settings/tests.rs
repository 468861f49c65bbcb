//! Settings: defaults that parse, all mistakes at once.

use lockgate_diag::SourceFile;

use super::{DeTable, FIELDS, FieldKind, NodeSettings, checked};

#[test]
fn every_default_is_valid_and_an_empty_file_gives_them() {
    for field in FIELDS.iter().filter(|f| !f.default.is_empty()) {
        let text = match field.kind {
            FieldKind::Whole { .. } => format!("v = {}", field.default),
            _ => format!("v = \"{}\"", field.default),
        };
        let table = DeTable::parse(&text).expect("TOML");
        let value = table.get_ref().get("v").expect("a value").get_ref();
        assert!(checked(field.kind, value).is_ok(), "{}", field.name);
    }
    let (settings, found) = NodeSettings::parse(&SourceFile::new("lockgate.toml", ""));
    assert_eq!(found, []);
    let settings = settings.expect("defaults");
    assert_eq!(settings.data_address.to_string(), "127.0.0.1:8470");
    assert_eq!(settings.limits.body_bytes_max, 10_485_760);
    assert_eq!(settings.limits.drain.as_secs(), 30);
    assert!(settings.log_json);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "[data]\nadress = \"x\"\naddress = \"nowhere\"\n[admin]\naddress = \"127.0.0.1:1\"\n\
                [limits]\nhead_bytes_max = 5\n[lgo]\nlevel = 1\n";
    let (settings, found) = NodeSettings::parse(&SourceFile::new("lockgate.toml", text));
    assert!(settings.is_none());
    let mut shown: Vec<_> = found
        .iter()
        .map(|d| format!("{} {} | {}", d.code, d.message, d.hints.join("")))
        .collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "LG0103 `admin.address` needs `admin.key_file`: a TCP admin API without a key is open | add `admin.key_file = \"admin.key\"`",
            "LG0103 `data.address` must be an IP address and port like `\"127.0.0.1:8470\"` | the default is `127.0.0.1:8470`",
            "LG0103 `limits.head_bytes_max` must be a whole number from 1024 to 1048576 | the default is `65536`",
            "LG0104 unknown setting `data.adress` | did you mean `data.address`",
            "LG0104 unknown setting `lgo` | did you mean `log`",
        ]
    );
}
