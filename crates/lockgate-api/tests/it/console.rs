//! The console from outside: what opens it, what does not, and what every answer carries.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::Clock as _;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, Ledger, LedgerEntry, Operation, Price,
    Rates, Usage,
};
use lockgate_store::JournalLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Fixed, Node, route, service};

/// Longer than the port waits before it looks whether anybody is left.
const LOOK: Duration = Duration::from_secs(61);

/// One request to `address`; the whole answer.
async fn ask(address: &str, head: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(address: &str, path: &str, headers: &str) -> String {
    ask(address, &format!("GET {path}"), headers, "").await
}

/// A fresh link as address and path.
async fn link(node: &Node) -> (String, String) {
    let url = node.client.console_link().await.unwrap().url;
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{url}");
    (address.to_owned(), format!("/{path}"))
}

/// The cookie an answer sets, as a request header.
fn cookie(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    let line = answer
        .lines()
        .find_map(|l| l.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(line.ends_with("; HttpOnly; SameSite=Strict"), "{line}");
    format!("cookie: a=b; {}\r\n", line.split(';').next().unwrap())
}

const CONTENT_SECURITY_POLICY: &str = "content-security-policy: default-src 'none'; \
    script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'self'\r\n";

#[tokio::test]
async fn a_link_opens_the_page_once() {
    let node = Node::start().await;
    let spec = service("shop/dev/web<b>", "ok");
    node.client.apply_service(&spec, &|_| {}).await.unwrap();
    let wish = route("shop/dev/r", &spec.id.endpoint());
    let me = lockgate_model::gateway::ConsumerSpec {
        name: "shop/dev/me".into(),
    };
    node.client.apply_consumer(&me).await.unwrap();
    node.client.apply_route(&wish).await.unwrap();
    let (address, path) = link(&node).await;
    let opened = get(&address, &path, "").await;
    let cookie = cookie(&opened);
    let page = get(&address, "/console", &cookie).await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains(CONTENT_SECURITY_POLICY), "{page}");
    assert!(page.contains("cache-control: no-store\r\n"), "{page}");
    assert!(
        page.contains(r#"<strong id="services-healthy">1</strong> of 1 healthy"#),
        "{page}"
    );
    assert!(page.contains("shop/dev/web&#60;b&#62;"), "{page}");
    assert!(
        page.contains(&spec.image.digest.unwrap().to_string()),
        "{page}"
    );
    assert!(page.contains("shop/dev/r"), "{page}");
    assert!(!page.contains(crate::world::CANARY), "{page}");

    let again = get(&address, &path, "").await;
    assert!(again.starts_with("HTTP/1.1 403 "), "{again}");
    assert!(again.contains("opened already"), "{again}");
    assert!(!again.contains("set-cookie"), "{again}");
}

#[tokio::test]
async fn without_a_session_the_page_says_how_to_open_it() {
    let node = Node::start().await;
    let (address, path) = link(&node).await;
    let guess = format!("{}f", &path[..path.len() - 1]);
    for (path, headers) in [
        ("/console", ""),
        ("/console", "cookie: lockgate_0=00\r\n"),
        ("/console", "authorization: Bearer right\r\n"),
        (guess.as_str(), ""),
    ] {
        let answer = get(&address, path, headers).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        assert!(answer.contains(CONTENT_SECURITY_POLICY), "{answer}");
        assert!(answer.contains("<code>lockgate console</code>"), "{answer}");
        assert!(!answer.contains("Sign in"), "{answer}");
    }
    let api = get(&address, "/v1/status", "").await;
    assert!(
        api.starts_with("HTTP/1.1 401 "),
        "the console's port serves the API: {api}"
    );
    let start = get(&address, "/", "").await;
    assert!(start.contains("location: /console\r\n"), "{start}");
}

#[tokio::test]
async fn a_session_is_for_pages_only_and_ends_on_request() {
    let node = Node::start().await;
    let tcp = node.serve_tcp("right").await;
    let (address, path) = link(&node).await;
    let cookie = cookie(&get(&address, &path, "").await);
    let api = get(&tcp, "/v1/status", &cookie).await;
    assert!(api.starts_with("HTTP/1.1 401 "), "{api}");

    let foreign = format!("{cookie}origin: http://evil.example\r\n");
    let refused = ask(&address, "POST /console/logout", &foreign, "").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(
        get(&address, "/console", &cookie)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let own = format!("{cookie}origin: http://{address}\r\n");
    let ended = ask(&address, "POST /console/logout", &own, "").await;
    assert!(ended.starts_with("HTTP/1.1 303 "), "{ended}");
    assert!(
        get(&address, "/console", &cookie)
            .await
            .starts_with("HTTP/1.1 403 ")
    );
}

#[tokio::test]
async fn the_port_closes_with_the_last_session_and_opens_anew() {
    let node = Node::start().await;
    let (address, path) = link(&node).await;
    let cookie = cookie(&get(&address, &path, "").await);
    // Paused time runs ahead of the store's thread, so nothing below asks it until the resume.
    tokio::time::pause();
    tokio::time::advance(LOOK).await;
    let icon = get(&address, "/console/assets/icon.svg", "").await;
    assert!(icon.starts_with("HTTP/1.1 200 "), "{icon}");
    let own = format!("{cookie}origin: http://{address}\r\n");
    ask(&address, "POST /console/logout", &own, "").await;
    tokio::time::advance(LOOK).await;
    // The port's task needs some turns to come to it, and each try is one.
    let mut open = true;
    for _ in 0..1000 {
        open = TcpStream::connect(&address).await.is_ok();
        if !open {
            break;
        }
    }
    assert!(!open, "the port stays open for nobody");
    tokio::time::resume();

    let (address, path) = link(&node).await;
    let opened = get(&address, &path, "").await;
    assert!(opened.starts_with("HTTP/1.1 303 "), "{opened}");
}

#[tokio::test]
async fn the_admin_port_takes_the_key_in_a_form() {
    let node = Node::start().await;
    let address = node.serve_tcp("right").await;
    let locked = get(&address, "/console", "").await;
    assert!(locked.starts_with("HTTP/1.1 403 "), "{locked}");
    assert!(locked.contains("Sign in"), "{locked}");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let own = format!("{form}origin: http://{address}\r\n");
    for (headers, body, status) in [
        (own.as_str(), "key=wrong", 403),
        (form, "key=right", 403),
        (own.as_str(), "", 422),
    ] {
        let answer = ask(&address, "POST /console/login", headers, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{body}: {answer}"
        );
        assert!(!answer.contains("set-cookie"), "{answer}");
    }
    let cookie = cookie(&ask(&address, "POST /console/login", &own, "key=right").await);
    assert!(
        get(&address, "/console", &cookie)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn lists_are_paged_and_assets_are_kept() {
    let node = Node::start().await;
    for number in 0..30 {
        let spec = service(&format!("shop/dev/web{number:02}"), "ok");
        node.client.apply_service(&spec, &|_| {}).await.unwrap();
    }
    let (address, path) = link(&node).await;
    let cookie = cookie(&get(&address, &path, "").await);
    for (query, first, other, words) in [
        ("", "web00", "web25", "1–25 of 30"),
        ("?services=2", "web25", "web00", "26–30 of 30"),
        ("?services=99", "web25", "web00", "26–30 of 30"),
    ] {
        let page = get(&address, &format!("/console{query}"), &cookie).await;
        assert!(
            page.contains(first) && !page.contains(other),
            "{query}: {page}"
        );
        assert!(page.contains(words), "{query}: {page}");
    }
    let page = get(&address, "/console?services=x", &cookie).await;
    assert!(page.starts_with("HTTP/1.1 400 "), "{page}");
    assert!(page.contains("LG0714"), "{page}");

    let page = get(&address, "/console", &cookie).await;
    let assets: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with("/console/assets/"))
        .collect();
    assert_eq!(assets.len(), 6, "{assets:?}");
    for asset in assets {
        let answer = get(&address, asset, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{asset}: {answer}");
        assert!(answer.contains("immutable\r\n"), "{asset}");
        assert!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{asset}"
        );
    }
}

/// Writes a settled call of `alias` into the node's ledger.
fn call(ledger: &dyn Ledger, number: u32, alias: &str) {
    let id = CallId {
        request: format!("r{number}").into(),
        attempt: 1,
    };
    let rates = Rates {
        input: 2_000_000,
        output: 10_000_000,
        ..Rates::default()
    };
    let terms = CallTerms {
        route: "shop/dev/ai".into(),
        consumer: None,
        api_key: None,
        alias: alias.into(),
        vendor: "shop/dev/acme".into(),
        vendor_model: "acme-1".into(),
        operation: Operation::Chat,
        price: Some(Price {
            version: "0".into(),
            currency: "USD".into(),
            rates,
        }),
    };
    let start = CallStart {
        at: Fixed.now(),
        terms: Arc::new(terms),
        stream: true,
        input_estimate: 1,
    };
    let usage = Usage {
        input: 1000,
        output: 50,
        ..Usage::default()
    };
    let end = CallEnd {
        at: Fixed.now(),
        status: CallStatus::Ok,
        http_status: Some(200),
        usage,
        estimated: false,
    };
    ledger
        .append(&LedgerEntry::Started(id.clone(), start))
        .unwrap();
    ledger.append(&LedgerEntry::Settled(id, end)).unwrap();
}

#[tokio::test]
async fn ai_usage_is_summed_by_model() {
    let node = Node::start().await;
    let (address, path) = link(&node).await;
    let cookie = cookie(&get(&address, &path, "").await);
    let page = get(&address, "/console", &cookie).await;
    assert!(
        page.contains("No model was called in the last hour."),
        "{page}"
    );

    let folder = tempfile::tempdir().unwrap();
    let opened = node
        .store
        .open_ledger(folder.path(), JournalLimits::default(), Fixed.now());
    let ledger = opened.await.unwrap();
    for (number, alias) in [(1, "large"), (2, "large"), (3, "small")] {
        call(ledger.as_ref(), number, alias);
    }
    let page = get(&address, "/console", &cookie).await;
    for cell in [
        r#"<th scope="row">large</th>"#,
        r#"<th scope="row">small</th>"#,
        r#"<td data-label="Calls" class="number">2</td>"#,
        r#"<td data-label="Tokens in" class="number">2,000</td>"#,
        r#"<td data-label="Tokens out" class="number">100</td>"#,
        r#"<td data-label="Cost" class="number">0.005000 USD</td>"#,
        r#"<td data-label="Cost" class="number">0.002500 USD</td>"#,
    ] {
        assert!(page.contains(cell), "{cell} is not in {page}");
    }
}
