//! Certificates and names as stacks state them.

use super::*;

const ONE: &str = include_str!("tests/one.pem");
const TWO: &str = include_str!("tests/two.pem");
const KEY: &str = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";

#[test]
fn certificates_read_and_render_as_the_same() {
    let text = format!("our roots\n{ONE}\nand\r\n{}", TWO.replace('\n', "\r\n"));
    let certificates = CaCertificates::parse(&text).unwrap();
    assert_eq!(certificates.der().count(), 2);
    let rendered = certificates.to_string();
    assert_eq!(CaCertificates::parse(&rendered).unwrap(), certificates);
    assert!(rendered.lines().all(|line| line.len() <= PEM_LINE));
}

#[test]
fn what_cannot_be_a_root_is_refused_with_its_reason() {
    let good = ONE;
    let end = good.replace("-----END CERTIFICATE-----", "");
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for (text, reason) in [
        (String::new(), "holds no certificate in PEM form"),
        ("hello".into(), "holds no certificate in PEM form"),
        (garbage.into(), "has a broken certificate, number 1"),
        (
            format!("{good}{garbage}"),
            "has a broken certificate, number 2",
        ),
        (end, "has a broken certificate, number 1"),
        (
            format!("{good}{KEY}"),
            "holds a private key, expected certificates only",
        ),
        (good.repeat(65), "holds more than 64 certificates"),
        (" ".repeat(256 * 1024 + 1), "is larger than 256 KiB"),
    ] {
        assert_eq!(CaCertificates::parse(&text).unwrap_err(), reason);
    }
}

#[test]
fn different_settings_make_different_upstreams() {
    let settings = |name: Option<&str>, pem: Option<&str>| TlsSettings {
        server_name: name.map(|name| ServerIdentity::parse(name).unwrap()),
        ca_certificates: pem.map(|pem| CaCertificates::parse(pem).unwrap()),
    };
    assert_eq!(settings(None, None).suffix(), "");
    let mut seen = std::collections::HashSet::new();
    for name in [None, Some("a"), Some("b")] {
        for pem in [None, Some(ONE), Some(TWO)] {
            let settings = settings(name, pem);
            assert!(seen.insert(settings.suffix()), "{settings:?}");
            assert_eq!(settings.suffix(), settings.clone().suffix());
        }
    }
}

#[test]
fn names_are_hosts_or_addresses() {
    for text in ["Example.org", "a", "127.0.0.1", "::1"] {
        let name = ServerIdentity::parse(text).unwrap();
        assert_eq!(name.as_str(), text.to_ascii_lowercase());
    }
    for text in ["", "a b", "https://a", "a:443", "[::1]", "*.a"] {
        assert!(ServerIdentity::parse(text).is_err(), "{text}");
    }
}
