//! Streams in every cut and spelling.

use proptest::prelude::*;

use super::*;

const ASKED: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n\
: ping\n\n\
data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n\
data: {\"usage\":null,\"choices\":[{\"delta\":{\"content\" : \"\\\"usage\\\":null\"}}]}\n\n\
data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}], \"usage\" : null}\n\n\
data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n\
data: [DONE]\n\n";

const UNASKED: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
: ping\n\n\
data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
data: {\"choices\":[{\"delta\":{\"content\" : \"\\\"usage\\\":null\"}}]}\n\n\
data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: [DONE]\n\n";

fn run<'p>(hide: bool, pieces: impl IntoIterator<Item = &'p [u8]>) -> (String, Ended) {
    let mut stream = EventStream::new(hide);
    let mut out = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut out);
    }
    (String::from_utf8(out).unwrap(), stream.seen())
}

fn told() -> Ended {
    Ended {
        usage: Some(Usage {
            input: 3,
            output: 2,
            ..Usage::default()
        }),
        output_chunks: 2,
        done: true,
        failed: false,
    }
}

#[test]
fn the_client_sees_what_it_would_have_seen_without_us() {
    assert_eq!(run(false, [ASKED.as_bytes()]), (ASKED.to_owned(), told()));
    assert_eq!(run(true, [ASKED.as_bytes()]), (UNASKED.to_owned(), told()));
}

#[test]
fn only_the_tokens_of_the_chunk_itself_are_cut() {
    for (chunk, cut) in [
        (r#"{"x":{"y":1,"usage":null}}"#, None),
        (r#"{"x":{"y":1,"usage":null},"z":2}"#, None),
        (
            r#"{"x":{"y":1,"usage":null},"usage":null}"#,
            Some(r#"{"x":{"y":1,"usage":null}}"#),
        ),
        (r#"{"x":1,"usage":null}"#, Some(r#"{"x":1}"#)),
        (r#"{"usage":null}"#, Some("{}")),
        (r#"{"x":"\"usage\":null}"}"#, None),
        (r#"["x",{"y":1,"usage":null}]"#, None),
    ] {
        let text = format!("data: {chunk}\n\n");
        let shown = format!("data: {}\n\n", cut.unwrap_or(chunk));
        assert_eq!(run(true, [text.as_bytes()]), (shown, Ended::default()));
        let kept = (text.clone(), Ended::default());
        assert_eq!(run(false, [text.as_bytes()]), kept);
    }
    // An error beside it is seen.
    let text = "data: {\"error\":{\"code\":1},\"usage\":null}\n\n";
    assert!(run(true, [text.as_bytes()]).1.failed);
}

#[test]
fn half_an_event_is_not_passed_on() {
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"cho";
    let (out, seen) = run(false, [half.as_bytes()]);
    assert_eq!(out, &half[..half.len() - 11]);
    assert!(!seen.done);
}

#[test]
fn errors_and_foreign_events_are_seen_and_passed_on() {
    let text = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let (out, seen) = run(true, [text.as_bytes()]);
    assert_eq!((out.as_str(), seen.failed), (text, true));
    for text in [
        "data: {\"error\":null,\"choices\":[]}\n\n",
        "data: garbage \"usage\"\n\n",
        "\n\n",
    ] {
        let (out, seen) = run(true, [text.as_bytes()]);
        assert_eq!((out.as_str(), seen), (text, Ended::default()));
    }
}

#[test]
fn an_event_too_long_to_hold_is_relayed_as_it_comes() {
    let long = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(EVENT_BYTES_MAX));
    let text = format!("{long}{ASKED}");
    let mut stream = EventStream::new(false);
    let mut out = Vec::new();
    let middle = EVENT_BYTES_MAX + 8;
    stream.push(&text.as_bytes()[..middle], &mut out);
    assert!(stream.is_mid_event());
    assert_eq!(out.len(), middle);
    stream.push(&text.as_bytes()[middle..], &mut out);
    assert!(!stream.is_mid_event());
    assert_eq!(
        (String::from_utf8(out).unwrap(), stream.seen()),
        (text, told())
    );
}

proptest! {
    /// Any cut, in any line ends, gives the same bytes and the same findings.
    #[test]
    fn any_cut_gives_the_same(
        hide in any::<bool>(),
        ends in 0_usize..3,
        bom in any::<bool>(),
        cuts in proptest::collection::vec(1_usize..40, 0..200),
    ) {
        let mut text = ASKED.replace('\n', ["\n", "\r\n", "\r"][ends]);
        if bom {
            text.insert(0, '\u{feff}');
        }
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let whole = run(hide, [text.as_bytes()]);
        prop_assert_eq!(run(hide, pieces), whole.clone());
        prop_assert_eq!(run(hide, text.as_bytes().chunks(1)), whole.clone());
        prop_assert_eq!(whole.1, told());
    }

    /// No input makes the machine panic or lose bytes that it does not hold.
    #[test]
    fn any_bytes_pass(data in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
        let mut stream = EventStream::new(false);
        let mut out = Vec::new();
        stream.push(&data, &mut out);
        prop_assert_eq!([out, stream.tail.clone()].concat(), data);
    }
}
