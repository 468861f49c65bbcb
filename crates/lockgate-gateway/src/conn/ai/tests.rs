//! What is asked, and which fields cross the border.

use super::*;

#[test]
fn paths_and_methods_name_operations() {
    let call = |operation| Ok(Operation::Call(operation));
    for (method, path, expected) in [
        ("POST", "/v1/chat/completions", call(model::Operation::Chat)),
        ("POST", "/v1/embeddings", call(model::Operation::Embeddings)),
        ("GET", "/v1/models", Ok(Operation::Models)),
        (
            "GET",
            "/v1/models/a/b",
            Ok(Operation::FindModel("a/b".into())),
        ),
        ("GET", "/v1/models/", Err(Kind::NoRoute)),
        ("POST", "/v1/completions", Err(Kind::NoRoute)),
        ("GET", "/v1/chat/completions", Err(Kind::MethodNotAllowed)),
        ("HEAD", "/v1/models", Err(Kind::MethodNotAllowed)),
    ] {
        let found = operation(method, path).map_err(|failure| failure.kind);
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn no_credential_goes_to_a_vendor_and_no_account_comes_back() {
    for name in ["Content-Type", "X-Stainless-Lang", "OpenAI-Beta"] {
        assert!(is_for_vendor(name.as_bytes()), "{name}");
    }
    for name in [
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "openai-organization",
        "x-forwarded-for",
        "host",
        "content-length",
        "accept-encoding",
    ] {
        assert!(!is_for_vendor(name.as_bytes()), "{name}");
    }
    assert!(is_vendors_own(b"X-RateLimit-Remaining-Tokens"));
    assert!(is_vendors_own(b"OpenAI-Organization"));
    assert!(!is_vendors_own(b"openai-processing-ms"));
}
