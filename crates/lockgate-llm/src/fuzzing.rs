//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.
//!
//! The oracles read JSON with `serde_json` into trees and texts, and split streams by a slow
//! reader of their own.

mod reference;

use lockgate_model::Timestamp;

use crate::json::text;
use crate::{ChatRequest, EventStream, PriceTable, Rewrite, check_answer, parse_usage};
use reference::{Members, Want, events, expect, members};

/// A chat request: what is sent to the vendor is the client's JSON but for the model and the
/// wish to hear the tokens. The first byte says how it is rewritten.
pub fn request(bytes: &[u8]) {
    let Some((control, body)) = bytes.split_first() else {
        return;
    };
    let Ok(request) = ChatRequest::parse(body) else {
        return;
    };
    let before = members(body).expect("what is taken is a JSON object");
    let rewrite = Rewrite {
        model: ["m", "a\"b\\\u{1}", "", "modèle/1"][usize::from(control & 3)],
        include_usage: control & 4 != 0,
    };
    let mut out = b"before".to_vec();
    request.rewrite(body, rewrite).put(&mut out);
    let out = out.strip_prefix(b"before").expect("appended");
    let after = members(out).expect("what is sent is a JSON object");
    let again = ChatRequest::parse(out).expect("what is sent would be taken");
    assert_eq!(again.model, rewrite.model);
    assert_eq!(again.stream, request.stream);
    let usage = request.include_usage || rewrite.include_usage;
    assert_eq!(again.include_usage, usage, "the wish for tokens");

    let acted = |members: &Members| -> Members {
        let ours = ["model", "stream_options"];
        let rest = members
            .iter()
            .filter(|(key, _)| !ours.contains(&key.as_str()));
        rest.cloned().collect()
    };
    assert_eq!(
        acted(&after),
        acted(&before),
        "other members are as they were"
    );
    assert_eq!(
        options(&after),
        options(&before),
        "other options are as they were"
    );
    if !rewrite.include_usage || request.include_usage {
        let value = |all: &Members| find(all, "stream_options").cloned();
        assert_eq!(value(&after), value(&before), "nobody wished for more");
    }
}

/// The members of `stream_options` besides `include_usage`.
fn options(all: &Members) -> Members {
    let raw = find(all, "stream_options").map_or("null", String::as_str);
    let mut options = members(raw.as_bytes()).unwrap_or_default();
    options.retain(|(key, _)| key != "include_usage");
    options
}

fn find<'m>(all: &'m Members, name: &str) -> Option<&'m String> {
    all.iter().find(|(key, _)| key == name).map(|(_, raw)| raw)
}

/// An event stream: the same output and findings however it is cut, and what the client gets is
/// what a slow reader would let through. The first byte says whether tokens are hidden.
pub fn stream(bytes: &[u8]) {
    let Some((control, bytes)) = bytes.split_first() else {
        return;
    };
    let hide = control & 1 != 0;
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut stream = EventStream::new(hide);
        let mut out = Vec::new();
        for piece in pieces {
            stream.push(piece, &mut out);
        }
        (stream.seen(), stream.is_mid_event(), out)
    };
    let whole = run(&mut [bytes].into_iter());
    assert_eq!(run(&mut bytes.chunks(1)), whole, "byte by byte");
    let size = 1 + usize::from(control >> 1) % 61;
    assert_eq!(run(&mut bytes.chunks(size)), whole, "in pieces of {size}");

    let (seen, mid, out) = whole;
    if !hide {
        assert!(bytes.starts_with(&out), "what goes on is what came");
    }
    if mid {
        return;
    }
    let Some(expected) = expect(bytes, hide) else {
        return;
    };
    assert_wanted(&out, &expected.wants);
    assert_eq!(seen.done, expected.done, "the end");
    assert_eq!(seen.failed, expected.failed, "an error inside");
    assert_eq!(seen.usage, expected.usage, "the tokens");
}

/// `out` is made of the wanted events, in order, and of nothing else.
fn assert_wanted(out: &[u8], wants: &[Want<'_>]) {
    let mut rest = out;
    for (number, want) in wants.iter().enumerate() {
        let taken = match want {
            Want::Nothing => 0,
            // The spelling of a key may keep it from being found.
            Want::Same(event) if rest.starts_with(event) => event.len(),
            Want::Same(event) if event.contains(&b'\\') => cut_event(rest, event, None),
            Want::Same(event) => panic!(
                "{:?} is missing before {:?}",
                String::from_utf8_lossy(event),
                String::from_utf8_lossy(rest)
            ),
            Want::Cut(event, members) => cut_event(rest, event, Some((members, number == 0))),
        };
        rest = &rest[taken..];
    }
    assert!(rest.is_empty(), "more than came");
}

/// The length of the first event of `out`, which is `event` with one piece cut out.
fn cut_event(out: &[u8], event: &[u8], wanted: Option<(&Members, bool)>) -> usize {
    let all = events(out);
    let cut = *all.first().expect("an event");
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = cut.iter().zip(event).take_while(same).count();
    let tail = cut
        .iter()
        .rev()
        .zip(event.iter().rev())
        .take_while(same)
        .count();
    assert!(
        cut.len() < event.len() && head + tail >= cut.len(),
        "one piece is cut"
    );
    if let Some((wanted, first)) = wanted {
        let data = reference::data(cut, first).concat();
        assert_eq!(members(&data).as_ref(), Some(wanted), "only `usage` is cut");
    }
    cut.len()
}

/// A whole answer: its tokens are those of its own `usage`, and no more than the totals.
pub fn answer(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_usage(text);
    }
    let Ok(told) = check_answer(bytes) else {
        return;
    };
    let all = members(bytes).expect("what is taken is a JSON object");
    let expected = find(&all, "usage").and_then(|raw| parse_usage(raw));
    assert_eq!(told, expected);
}

fn check_usage(raw: &str) {
    let Some(usage) = parse_usage(raw) else {
        return;
    };
    // A number that no float holds may stand where nobody looks.
    let Ok(value) = serde_json::from_str::<serde_json::Value>(raw) else {
        return;
    };
    // A list is read by position, as serde does; only the totals of objects are compared.
    if value.is_object() {
        let total = |name: &str| value[name].as_u64().unwrap_or(0);
        assert_eq!(usage.total_input(), total("prompt_tokens"));
        assert_eq!(usage.total_output(), total("completion_tokens"));
    }
}

/// A price file: read or refused; the price of a moment is the youngest that is not younger, and
/// no rate is above the cap.
pub fn price(bytes: &[u8]) {
    let Ok(file) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(table) = PriceTable::parse(file) else {
        return;
    };
    assert_eq!(PriceTable::parse(file).ok().as_ref(), Some(&table));
    let Ok(tree) = file.parse::<toml::Table>() else {
        assert!(file.trim().is_empty(), "prices from what is no TOML");
        return;
    };
    let entries = tree.get("price").and_then(toml::Value::as_array);
    for entry in entries.into_iter().flatten() {
        let field = |name: &str| entry.get(name).and_then(toml::Value::as_str);
        let model = field("model").expect("a model");
        // Later moments do not fit a timestamp.
        if field("valid_from").is_some_and(|day| day >= "2262") {
            continue;
        }
        let at = |offset: i64| {
            let day = field("valid_from").expect("a date");
            Timestamp::from_secs(reference::seconds(day) + offset)
        };
        let price = table
            .find(model, at(0))
            .expect("the price of its first second");
        let input = reference::pico(field("input").expect("a price"));
        assert_eq!(u128::from(price.rates.input), input, "exact");
        let before = table.find(model, at(-1));
        assert!(
            before.is_none_or(|p| !std::ptr::eq(p, price)),
            "not before its day"
        );
    }
}

/// Every JSON text is read as `serde_json` reads it.
pub fn json_text(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else {
        return;
    };
    let expected = serde_json::from_str::<String>(raw).ok();
    assert_eq!(text(raw).map(|t| t.into_owned()), expected);
}

#[cfg(test)]
mod tests;
