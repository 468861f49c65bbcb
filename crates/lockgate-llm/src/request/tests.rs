//! What is read of a request, and that nothing but the splices changes.

use proptest::prelude::*;

use super::*;

fn rewritten(body: &str, include_usage: bool) -> String {
    let request = ChatRequest::parse(body.as_bytes()).unwrap();
    let mut out = Vec::new();
    let rewrite = Rewrite {
        model: "m\"1",
        include_usage,
    };
    let rewritten = request.rewrite(body.as_bytes(), rewrite);
    rewritten.put(&mut out);
    assert_eq!(rewritten.length(), out.len());
    String::from_utf8(out).unwrap()
}

#[test]
fn only_the_model_changes() {
    let body = "{ \"z\":1.50e+3, \"model\" : \"fa\\u0073t\" ,\"a\":{\"model\":\"x\"},\"z\":2}\n";
    let request = ChatRequest::parse(body.as_bytes()).unwrap();
    assert_eq!(request.model, "fast");
    assert!(!request.stream);
    assert_eq!(
        rewritten(body, false),
        "{ \"z\":1.50e+3, \"model\" : \"m\\\"1\" ,\"a\":{\"model\":\"x\"},\"z\":2}\n"
    );
}

#[test]
fn usage_is_asked_for_in_every_spelling() {
    for (options, expected) in [
        (
            "",
            r#"{"stream_options":{"include_usage":true},"model":"m\"1"}"#,
        ),
        (
            r#","stream_options":null"#,
            r#"{"model":"m\"1","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#","stream_options":{ }"#,
            r#"{"model":"m\"1","stream_options":{"include_usage":true }}"#,
        ),
        (
            r#","stream_options":{"x":1}"#,
            r#"{"model":"m\"1","stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (
            r#","stream_options":{"include_usage":false}"#,
            r#"{"model":"m\"1","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#","stream_options":{"include_usage": true}"#,
            r#"{"model":"m\"1","stream_options":{"include_usage": true}}"#,
        ),
    ] {
        let body = format!(r#"{{"model":"a"{options}}}"#);
        assert_eq!(rewritten(&body, true), expected);
    }
}

#[test]
fn what_is_ambiguous_is_refused() {
    let deep = format!(
        r#"{{"model":"a","x":{}{}}}"#,
        "[".repeat(128),
        "]".repeat(128)
    );
    for (body, fault) in [
        (r#"{"model":"a","model":"b"}"#, RequestFault::Twice),
        (r#"{"model":"a","mod\u0065l":"b"}"#, RequestFault::Twice),
        (
            r#"{"model":"a","stream":true,"stream":false}"#,
            RequestFault::Twice,
        ),
        (r#"{"model":7}"#, RequestFault::NoModel),
        (r#"{}"#, RequestFault::NoModel),
        (r#"["model"]"#, RequestFault::NotJson),
        (r#"{"model":"a"} x"#, RequestFault::NotJson),
        (r#"{"model":"a","x":01}"#, RequestFault::NotJson),
        ("", RequestFault::NotJson),
        (r#"{"model":"a","stream":"true"}"#, RequestFault::BadStream),
        (
            r#"{"model":"a","stream_options":[]}"#,
            RequestFault::BadStream,
        ),
        (&deep, RequestFault::TooDeep),
    ] {
        assert_eq!(ChatRequest::parse(body.as_bytes()), Err(fault), "{body}");
    }
    assert_eq!(
        ChatRequest::parse(b"{\"model\":\"\xff\"}"),
        Err(RequestFault::NotJson)
    );
}

proptest! {
    /// Outside the splices the vendor's bytes are the client's.
    #[test]
    fn bytes_outside_the_splices_survive(
        before in "[ \\n]{0,3}",
        number in -1e30_f64..1e30,
        text in ".{0,20}",
        stream in any::<bool>(),
    ) {
        let text = serde_json::to_string(&text).unwrap();
        let head = format!("{before}{{\"n\":{number:e},\"messages\":[{text}],\"model\":");
        let tail = format!(",\"stream\":{stream}}}{before}");
        let body = format!("{head}\"fast\"{tail}");
        prop_assert_eq!(rewritten(&body, false), format!("{head}\"m\\\"1\"{tail}"));
    }

    /// No input makes the scanner panic, and what it takes it can rewrite to JSON.
    #[test]
    fn any_bytes_are_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = ChatRequest::parse(&body);
    }
}
