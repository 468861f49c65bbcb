//! AI routes: what goes to the vendor, what comes back, and when the ledger is written.
#![expect(clippy::disallowed_methods, reason = "a client measures real time")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use lockgate_diag::Secret;
use lockgate_model::ai::{
    AiPolicy, BaseUrl, CallEnd, CallStatus, LaneSpec, Ledger, LedgerEntry, LedgerError, ModelSpec,
    VendorSpec,
};
use lockgate_model::gateway::{AuthPolicy, EndpointSpec, GatewaySpec, PathMatch, UpstreamSpec};
use lockgate_model::{Clock, Timestamp};
use parking_lot::Mutex;

use crate::support::{PATIENCE, Rig, Scripted, key_text, route, spec};

const KEY: &str = "sk-canary";
const DONE: &str = "data: [DONE]\n\n";

/// A ledger in memory that refuses what it is told to.
#[derive(Default)]
struct Book {
    entries: Mutex<Vec<LedgerEntry>>,
    refuses: AtomicU8,
}

const STARTS: u8 = 1;
const ENDS: u8 = 2;

impl Ledger for Book {
    fn append(&self, entry: &LedgerEntry) -> Result<(), LedgerError> {
        let kind = match entry {
            LedgerEntry::Started(..) => STARTS,
            LedgerEntry::Settled(..) => ENDS,
            LedgerEntry::Progress(..) => 0,
        };
        if self.refuses.load(Ordering::SeqCst) & kind != 0 {
            return Err(LedgerError(io::ErrorKind::StorageFull.into()));
        }
        self.entries.lock().push(entry.clone());
        Ok(())
    }
}

impl Book {
    fn ends(&self) -> Vec<CallEnd> {
        let entries = self.entries.lock();
        let end = |entry: &LedgerEntry| match entry {
            LedgerEntry::Settled(_, end) => Some(*end),
            _ => None,
        };
        entries.iter().filter_map(end).collect()
    }

    /// The first end, once it is there.
    fn end(&self) -> CallEnd {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.ends().first() {
                return *end;
            }
            assert!(Instant::now() < deadline, "the call has no end");
            std::thread::yield_now();
        }
    }
}

fn ai_spec(vendor: &Scripted) -> GatewaySpec {
    let mut route = route("p/s/ai", "/");
    route.matches.paths = vec![PathMatch::Prefix("/ai/v1".into())];
    route.strip_prefix = Some("/ai".into());
    route.backends.clear();
    route.auth = AuthPolicy::ApiKey {
        header: "authorization".into(),
        consumers: Vec::new(),
    };
    route.ai = Some(AiPolicy {
        models: vec!["p/s/fast".into()],
    });
    let mut spec = spec(1, vec![route], &[]);
    let base_url = BaseUrl::parse(&format!("http://{}/base", vendor.address)).expect("a URL");
    spec.upstreams.push(UpstreamSpec {
        name: base_url.origin.to_string(),
        endpoints: vec![EndpointSpec::Tcp(vendor.address)],
    });
    spec.ai.vendors.push(VendorSpec {
        name: "p/s/vendor".into(),
        base_url,
        tls: Default::default(),
        key: Some(Secret::new(KEY.to_owned())),
        prices: String::new(),
    });
    spec.ai.models.push(ModelSpec {
        name: "p/s/fast".into(),
        alias: "fast".into(),
        lanes: vec![LaneSpec {
            vendor: "p/s/vendor".into(),
            vendor_model: "big-7".into(),
            weight: 1,
        }],
    });
    spec
}

fn start(vendor: &Scripted) -> (Rig, Arc<Book>) {
    let book = Arc::new(Book::default());
    let ledger = Arc::clone(&book);
    let rig = Rig::tuned(ai_spec(vendor), move |settings| {
        settings.ledger = Some(ledger);
    });
    (rig, book)
}

fn request(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /ai/v1/{path}?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         X-Api-Key: other\r\nCookie: c=1\r\nOpenAI-Organization: me\r\nX-Stainless-Lang: rust\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        key_text(1),
        body.len()
    )
    .into_bytes()
}

fn chat(stream: bool) -> Vec<u8> {
    request(
        "chat/completions",
        &format!("{{\"model\":\"fast\",\"stream\":{stream}}}"),
    )
}

fn json_answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-RateLimit-Limit-Tokens: 5\r\n\
         OpenAI-Organization: us\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn word(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

#[test]
fn the_vendor_gets_the_clients_bytes_but_for_the_models_name() {
    let answer = "{ \"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}, \"x\" : 1.0 }";
    let vendor = Scripted::saying(json_answer(answer));
    let (rig, book) = start(&vendor);
    let body =
        "{\n \"zeta\": 1.50e+3,\t\"model\" :\"fa\\u0073t\", \"zeta\":null,\"\u{e9}\":[ ] }\n";
    let got = rig.ask(&request("chat/completions", body));
    assert_eq!((got.status, got.complete), (200, true), "{got:?}");
    assert_eq!(got.body, answer.as_bytes());
    assert_eq!(got.field("x-ratelimit-limit-tokens"), None);
    assert_eq!(got.field("openai-organization"), None);
    let seen = vendor.requests();
    let (head, sent) = seen[0].split_once("\r\n\r\n").expect("a head");
    assert_eq!(sent, body.replace("\"fa\\u0073t\"", "\"big-7\""));
    assert!(head.starts_with("POST /base/chat/completions HTTP/1.1\r\n"));
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("authorization: bearer sk-canary\r\n"));
    assert!(lower.contains("x-stainless-lang: rust\r\n"));
    for absent in [
        "lgk_",
        "cookie",
        "x-api-key",
        "organization",
        "x-forwarded",
        "consumer",
    ] {
        assert!(!lower.contains(absent), "{absent} in {head}");
    }
    let end = book.end();
    assert_eq!((end.status, end.estimated), (CallStatus::Ok, false));
    assert_eq!((end.usage.input, end.usage.output), (2, 3));
}

#[test]
fn every_call_names_its_own_caller_model_and_price() {
    let vendor = Scripted::start(|peer| {
        while peer.request().is_some() {
            peer.say(json_answer("{}").as_bytes());
        }
    });
    let prices = |output: &str| {
        format!(
            "currency = \"USD\"\n[[price]]\nmodel = \"big-7\"\nvalid_from = \"2020-01-01\"\n\
             input = \"1\"\noutput = \"{output}\"\n"
        )
    };
    let spec = |version, vendor_model: &str, output: &str| {
        let mut spec = ai_spec(&vendor);
        spec.version = version;
        spec.ai.models[0].lanes[0].vendor_model = vendor_model.into();
        spec.ai.vendors[0].prices = prices(output);
        spec
    };
    let (rig, book) = start(&vendor);
    let ask = |key| {
        let request = String::from_utf8(chat(false)).expect("text");
        let answer = rig.ask(request.replace(&key_text(1), &key_text(key)).as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let mut version = 1;
    for (vendor_model, output) in [("big-7", "2"), ("big-7", "3"), ("big-8", "3")] {
        version += 1;
        rig.publish(spec(version, vendor_model, output));
        for key in [1, 3, 1] {
            ask(key);
        }
    }
    let entries = book.entries.lock();
    let told = entries.iter().filter_map(|entry| match entry {
        LedgerEntry::Started(_, start) => {
            let terms = &start.terms;
            let output = terms.price.as_ref().map(|price| price.rates.output);
            let consumer = terms.consumer.as_deref().map(str::to_owned);
            Some((consumer, terms.vendor_model.to_string(), output))
        }
        _ => None,
    });
    let mut expected = Vec::new();
    for (vendor_model, output) in [
        ("big-7", Some(2_000_000)),
        ("big-7", Some(3_000_000)),
        ("big-8", None),
    ] {
        for consumer in ["alice", "bob", "alice"] {
            expected.push((Some(consumer.to_owned()), vendor_model.to_owned(), output));
        }
    }
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// A clock that stands at a second until it is moved.
struct Standing(AtomicI64);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_price_changes_with_the_day() {
    let vendor = Scripted::start(|peer| {
        while peer.request().is_some() {
            peer.say(json_answer("{}").as_bytes());
        }
    });
    let mut spec = ai_spec(&vendor);
    spec.ai.vendors[0].prices = [("2026-11-28", 1), ("2026-11-29", 2)]
        .map(|(day, price)| {
            format!("[[price]]\nmodel = \"big-7\"\nvalid_from = \"{day}\"\ninput = \"{price}\"\n")
        })
        .concat();
    spec.ai.vendors[0]
        .prices
        .insert_str(0, "currency = \"USD\"\n");
    let book = Arc::new(Book::default());
    // 2026-11-28T23:59:59Z.
    let clock = Arc::new(Standing(AtomicI64::new(1_795_910_399)));
    let (ledger, ticking) = (Arc::clone(&book), Arc::clone(&clock));
    let rig = Rig::tuned(spec, move |settings| {
        settings.ledger = Some(ledger);
        settings.clock = ticking;
    });
    for _ in 0..2 {
        assert_eq!(rig.ask(&chat(false)).status, 200);
        clock.0.fetch_add(1, Ordering::SeqCst);
    }
    let entries = book.entries.lock();
    let told = entries.iter().filter_map(|entry| match entry {
        LedgerEntry::Started(_, start) => start.terms.price.as_ref().map(|p| p.rates.input),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [1_000_000, 2_000_000]);
}

#[test]
fn the_end_of_an_answer_waits_for_the_ledger() {
    let vendor = Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say(STREAM.as_bytes());
            peer.say(chunk(&word("a")).as_bytes());
            peer.wait_for_go();
            peer.say(chunk(DONE).as_bytes());
            peer.say(b"0\r\n\r\n");
        }
    });
    let (rig, book) = start(&vendor);
    let mut client = rig.client();
    client.send(&chat(true));
    let answer = client.answer_after_head(|| {
        assert_eq!(book.ends(), [], "settled before the vendor was done");
        // The disk is full from here on.
        book.refuses.store(ENDS, Ordering::SeqCst);
        vendor.go();
    });
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!answer.complete && !text.contains("[DONE]"), "{text}");
    assert!(text.contains("\"code\":\"no_ledger\""), "{text}");
}

#[test]
fn an_unrecorded_call_is_not_made() {
    let vendor = Scripted::saying(json_answer("{}"));
    let (rig, book) = start(&vendor);
    book.refuses.store(STARTS, Ordering::SeqCst);
    let got = rig.ask(&chat(false));
    assert_eq!(got.status, 503, "{got:?}");
    assert!(String::from_utf8_lossy(&got.body).contains("no_ledger"));
    assert_eq!(vendor.connections(), 0);
    book.refuses.store(0, Ordering::SeqCst);
    assert_eq!(rig.ask(&chat(false)).status, 200);
    let without = Rig::start(ai_spec(&vendor));
    assert_eq!(without.ask(&chat(false)).status, 503);
}

#[test]
fn a_client_that_leaves_frees_the_vendor_within_a_second() {
    let vendor = Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say(STREAM.as_bytes());
            peer.say(chunk(&word("a")).as_bytes());
            peer.wait_closed();
            peer.note("freed");
        }
    });
    let (rig, book) = start(&vendor);
    let mut client = rig.client();
    client.send(&chat(true));
    assert!(client.has_bytes());
    let left = Instant::now();
    drop(client);
    let end = book.end();
    assert_eq!(
        (end.status, end.usage.output),
        (CallStatus::ClientCancelled, 1)
    );
    vendor.requests_after(2);
    assert!(
        left.elapsed() < Duration::from_secs(1),
        "{:?}",
        left.elapsed()
    );
}

#[test]
fn words_are_recorded_before_the_client_has_them() {
    let vendor = Scripted::start(|peer| {
        if peer.request().is_some() {
            let two = [STREAM, &chunk(&word("a")), &chunk(&word("b"))].concat();
            peer.say(two.as_bytes());
            peer.wait_for_go();
            let broken = [&chunk(&word("c")), "no length\r\n"].concat();
            peer.say(broken.as_bytes());
        }
    });
    let (rig, book) = start(&vendor);
    let words = || -> Vec<u64> {
        let entries = book.entries.lock();
        let words = |entry: &LedgerEntry| match entry {
            LedgerEntry::Progress(_, words) => Some(*words),
            _ => None,
        };
        entries.iter().filter_map(words).collect()
    };
    let mut client = rig.client();
    client.send(&chat(true));
    let answer = client.answer_after_head(|| {
        assert_eq!(words(), [2], "what came together is one entry");
        vendor.go();
    });
    assert!(!answer.complete, "{answer:?}");
    let end = book.end();
    assert_eq!((end.status, end.usage.output), (CallStatus::Cut, 3));
}

#[test]
fn usage_that_the_client_did_not_ask_for_stays_ours() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1}}\n\n";
    let events = [word("a"), usage.to_owned(), DONE.to_owned()].concat();
    let vendor = Scripted::saying(format!("{STREAM}{}0\r\n\r\n", chunk(&events)));
    let (rig, book) = start(&vendor);
    let got = rig.ask(&chat(true));
    assert!(got.complete);
    assert_eq!(
        String::from_utf8_lossy(&got.body),
        [word("a"), DONE.to_owned()].concat()
    );
    assert!(
        vendor.requests()[0].contains("{\"stream_options\":{\"include_usage\":true},\"model\"")
    );
    let end = book.end();
    assert_eq!(
        (end.usage.input, end.usage.output, end.estimated),
        (4, 1, false)
    );
}

#[test]
fn what_is_wrong_with_a_request_is_told_in_the_clients_form() {
    let vendor = Scripted::saying(json_answer("{}"));
    let (rig, book) = start(&vendor);
    for (body, status, code) in [
        (
            "{\"model\":\"fast\",\"model\":\"x\"}",
            400,
            "bad_ai_request",
        ),
        ("{", 400, "bad_ai_request"),
        ("{\"model\":\"slow\"}", 404, "model_not_found"),
    ] {
        let got = rig.ask(&request("chat/completions", body));
        let error: serde_json::Value = serde_json::from_slice(&got.body).expect("JSON");
        assert_eq!(
            (got.status, &error["error"]["code"]),
            (status, &code.into()),
            "{body}"
        );
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    assert_eq!(rig.ask(&request("completions", "{}")).status, 404);
    assert_eq!(vendor.connections(), 0);
    assert!(book.entries.lock().is_empty());
}

#[test]
fn a_stream_of_one_byte_pieces_is_relayed_whole() {
    let events = [
        word("a"),
        ": ping\r\n\r\n".to_owned(),
        word("b"),
        DONE.to_owned(),
    ]
    .concat();
    let pieces: String = events
        .bytes()
        .map(|b| chunk(&char::from(b).to_string()))
        .collect();
    let vendor = Scripted::saying(format!("{STREAM}{pieces}0\r\n\r\n"));
    let (rig, book) = start(&vendor);
    let got = rig.ask(&chat(true));
    assert_eq!((got.complete, got.body), (true, events.into_bytes()));
    let end = book.end();
    // The vendor told no tokens: what was seen stands.
    assert_eq!(
        (end.status, end.usage.output, end.estimated),
        (CallStatus::Ok, 2, true)
    );
}

#[test]
fn models_are_listed_to_holders_of_keys() {
    let vendor = Scripted::saying(json_answer("{}"));
    let (rig, _book) = start(&vendor);
    let get = |path: &str, key: &str| {
        rig.ask(
            format!("GET /ai/v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n")
                .as_bytes(),
        )
    };
    let list = get("models", &key_text(1));
    assert_eq!(
        String::from_utf8_lossy(&list.body),
        "{\"object\":\"list\",\"data\":[{\"id\":\"fast\",\"object\":\"model\",\"created\":0,\"owned_by\":\"lockgate\"}]}"
    );
    assert_eq!(get("models/fast", &key_text(1)).status, 200);
    assert_eq!(get("models/slow", &key_text(1)).status, 404);
    let refused = get("models", "lgk_no");
    assert_eq!(refused.status, 401);
    assert!(String::from_utf8_lossy(&refused.body).contains("\"code\":\"invalid_api_key\""));
}

#[test]
fn a_call_is_not_made_twice_when_a_kept_connection_was_closed() {
    let vendor = Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say(json_answer("{}").as_bytes());
        }
        // Closes the kept connection behind the gateway's back.
    });
    let (rig, book) = start(&vendor);
    for _ in 0..20 {
        assert_eq!(rig.ask(&chat(false)).status, 200);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(vendor.requests().len(), 20);
    let ends = book.ends().len();
    let starts = book.entries.lock().len() - ends;
    assert!(
        starts >= 20 && ends == starts,
        "{starts} starts, {ends} ends"
    );
}
