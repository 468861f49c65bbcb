//! Any split of the bytes gives the same events; writing and reading agree.

use proptest::prelude::*;

use super::body::{Body, Framing, Piece};
use super::field::{Field, classify};
use super::head::{BareLineEnd, Scan};
use super::write::{LAST_CHUNK, put_chunk, put_number, put_quoted};

/// What a body decoder made of its bytes.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    /// Bytes after the end; `None` when there was no end.
    rest: Option<Vec<u8>>,
    bad: bool,
}

/// Feeds `bytes` in the given pieces.
fn decode(framing: Framing, pieces: &[&[u8]]) -> Decoded {
    let mut body = Body::new(framing);
    let mut decoded = Decoded {
        data: Vec::new(),
        rest: None,
        bad: false,
    };
    let mut unread: Vec<u8> = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match body.next(&unread) {
                Ok(Piece::Data(n)) => decoded.data.extend(unread.drain(..n)),
                Ok(Piece::Framing(n)) => drop(unread.drain(..n)),
                Ok(Piece::More | Piece::End) => break,
                Err(_) => {
                    decoded.bad = true;
                    return decoded;
                }
            }
        }
    }
    decoded.rest = body.is_done().then_some(unread);
    decoded
}

/// Cuts `bytes` at the given places.
fn split<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// Bytes that are often nearly a chunked body.
fn chunk_like() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"3\r\nabc\r\n".to_vec()),
        1 => Just(b"1;x=y\r\na\r\n".to_vec()),
        2 => Just(b"0\r\n\r\n".to_vec()),
        1 => Just(b"0\r\nX: y\r\n\r\n".to_vec()),
        1 => prop::collection::vec(prop::sample::select(b"0af;:x\r\n \0".to_vec()), 0..12),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_split_of_a_chunked_body_gives_the_same_events(
        bytes in chunk_like(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let whole = decode(Framing::Chunked, &[&bytes]);
        prop_assert_eq!(decode(Framing::Chunked, &split(&bytes, &cuts)), whole);
    }

    #[test]
    fn any_split_of_a_counted_body_gives_the_same_events(
        bytes in prop::collection::vec(any::<u8>(), 0..50),
        length in 0_u64..60,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let whole = decode(Framing::Length(length), &[&bytes]);
        prop_assert_eq!(&decode(Framing::Length(length), &split(&bytes, &cuts)), &whole);
        prop_assert_eq!(whole.rest.is_some(), bytes.len() as u64 >= length);
    }

    #[test]
    fn what_is_written_as_chunks_reads_as_data(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        after in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = Vec::new();
        for part in &parts {
            put_chunk(&mut bytes, part);
        }
        bytes.extend_from_slice(LAST_CHUNK);
        bytes.extend_from_slice(&after);
        let decoded = decode(Framing::Chunked, &[&bytes]);
        prop_assert_eq!(decoded, Decoded { data: parts.concat(), rest: Some(after), bad: false });
    }

    #[test]
    fn any_split_of_a_head_gives_the_same_end(
        bytes in prop::collection::vec(prop::sample::select(b"aa: \r\n\r\n\r\n".to_vec()), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let whole = Scan::default().feed(&bytes);
        let mut scan = Scan::default();
        let mut seen = 0;
        let mut last = Ok(None);
        for piece in split(&bytes, &cuts) {
            seen += piece.len();
            last = scan.feed(&bytes[..seen]);
            if last != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(last, whole);
    }

    #[test]
    fn text_in_json_reads_back(text in any::<String>()) {
        let mut out = Vec::new();
        put_quoted(&mut out, &text);
        let read: String = serde_json::from_slice(&out).expect("valid JSON");
        prop_assert_eq!(read, text);
    }

    #[test]
    fn numbers_print_as_usual(n in any::<u64>()) {
        let mut out = Vec::new();
        put_number(&mut out, n);
        prop_assert_eq!(out, n.to_string().into_bytes());
    }
}

#[test]
fn a_head_ends_at_its_first_empty_line() {
    for (bytes, wanted) in [
        (&b"a\r\n\r\nb"[..], Ok(Some(0..5))),
        (b"\r\na\r\n\r\n", Ok(Some(2..7))),
        (b"\r\n\r\n", Ok(Some(2..4))),
        (b"a\r\n\r", Ok(None)),
        (b"a\n", Err(BareLineEnd)),
        (b"\n", Err(BareLineEnd)),
        (b"a\r\n\n", Err(BareLineEnd)),
    ] {
        assert_eq!(Scan::default().feed(bytes), wanted, "{bytes:?}");
    }
}

#[test]
fn fields_are_known_in_every_spelling() {
    for (name, field) in [
        ("Host", Field::Host),
        ("CONTENT-LENGTH", Field::ContentLength),
        ("Transfer-Encoding", Field::TransferEncoding),
        ("X-Forwarded-For", Field::Identity),
        ("x_forwarded_for", Field::Identity),
        ("X-Forwarded_A-Very-Long-Name-Indeed", Field::Identity),
        ("X-Consumer-Id", Field::Identity),
        ("X-Consumer-Ids", Field::Other),
        ("X-Forwarded", Field::Other),
        ("Accept", Field::Other),
    ] {
        assert_eq!(classify(name.as_bytes()), field, "{name}");
    }
}
