//! The console: one server-rendered page, the links and sessions that open it, and its assets.
//!
//! A link comes from `POST /v1/console/links`, which only who may use the API can call; it opens
//! once and becomes a session. On a listener with a bearer key, the key opens a session too.
//! Pages take cookies only and the API takes none, so a page can never be made to call it.

mod access;
mod assets;
mod figures;
mod listen;
mod models;
mod page;
mod paging;
mod view;

pub use listen::{OpenConsole, serve_console};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Form, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lockgate_diag::{Secret, codes};
use lockgate_model::Rng;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;

use access::{Access, LINK_LIFE, SESSION_LIFE, Ticket};
use paging::Paging;

use crate::failure::Failure;
use crate::handlers::Asked;
use crate::router::Shared;
use crate::server::Peer;

/// Where the page is; the cookie's path too.
const PAGE: &str = "/console";
/// Largest form: a key and its name.
const FORM_BYTES_MAX: usize = 4096;

/// Headers of every answer. `same-origin` and not `no-referrer`, because browsers send
/// `Origin: null` with forms under the latter.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// What the console keeps between requests.
pub(crate) struct Console {
    /// Guards the lists, never held over an await.
    access: Mutex<Access>,
    /// Cookies know no ports: two nodes of one machine need two names.
    cookie: String,
}

impl Console {
    pub(crate) fn new(rng: &dyn Rng) -> Self {
        Self {
            access: Mutex::default(),
            cookie: format!("lockgate_{:016x}", rng.next_u64()),
        }
    }

    /// Whether anybody can open the page or has it open.
    pub(crate) fn in_use(&self, now: Duration) -> bool {
        self.access.lock().in_use(now)
    }

    fn session<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|text| text.split(';'));
        pairs.find_map(|pair| pair.trim().strip_prefix(&self.cookie)?.strip_prefix('='))
    }

    fn cookie(&self, value: &str, life: Duration) -> [(HeaderName, String); 1] {
        let (name, seconds) = (&self.cookie, life.as_secs());
        let text =
            format!("{name}={value}; Path={PAGE}; Max-Age={seconds}; HttpOnly; SameSite=Strict");
        [(header::SET_COOKIE, text)]
    }
}

/// A link that opens the console once.
pub(crate) struct OneTimeLink {
    pub(crate) url: Secret<String>,
    pub(crate) life: Duration,
}

/// Makes a link, and has the loopback port opened if it is not.
pub(crate) async fn make_link(shared: &Shared) -> Result<OneTimeLink, Failure> {
    let ticket = Ticket::new(shared.rng.as_ref());
    let now = shared.node.clock.monotonic();
    // First the link: a port without one would close.
    shared.console.access.lock().add_link(&ticket, now);
    let address = open_port(shared).await.map_err(|error| {
        let message = "the node cannot open a port for the console";
        let code = codes::store::CONSOLE_FAILED;
        let mut failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        failure.external.causes.push(error.to_string());
        failure
    })?;
    Ok(OneTimeLink {
        url: Secret::new(format!("http://{address}{PAGE}/link/{}", ticket.text())),
        life: LINK_LIFE,
    })
}

async fn open_port(shared: &Shared) -> io::Result<SocketAddr> {
    let (answer, answered) = oneshot::channel();
    let asked = shared.node.console.send(OpenConsole(answer)).await;
    asked.map_err(|_| io::Error::other("the node is shutting down"))?;
    let closed = |_| io::Error::other("the node is shutting down");
    answered.await.map_err(closed)?
}

/// The console's paths, apart from the API's and its rules.
pub(crate) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { Redirect::to(PAGE) }))
        .route(PAGE, get(show))
        .route("/console/link/{ticket}", get(open_link))
        .route("/console/login", post(login))
        .route("/console/logout", post(logout))
        .route("/console/assets/{name}", get(assets::asset))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(shared), surround))
}

/// Outermost layer: a failure becomes a page, and every answer gets its headers.
async fn surround(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        let id = format!("{:016x}", shared.rng.next_u64());
        failure.log(&id);
        response = page::problem(&failure, &id);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

const NO_SESSION: &str = "You have no session in this browser, or it has ended.";
const DEAD_LINK: &str = "This link was opened already, or it is older than a minute.";
const WRONG_KEY: &str = "That is not the key of this node.";

async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Failure> {
    let now = shared.node.clock.monotonic();
    let session = shared.console.session(&headers);
    let open = session.is_some_and(|text| shared.console.access.lock().use_session(text, now));
    if !open {
        return page::locked(NO_SESSION, peer.takes_key());
    }
    page::overview(&shared, paging).await
}

async fn open_link(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(ticket): Path<String>,
) -> Result<Response, Failure> {
    let now = shared.node.clock.monotonic();
    if !shared.console.access.lock().take_link(&ticket, now) {
        return page::locked(DEAD_LINK, peer.takes_key());
    }
    Ok(begin_session(&shared))
}

/// What the login form sends. Has no `Debug`: it holds the key.
#[derive(Deserialize)]
struct Login {
    key: String,
}

async fn login(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(form): Form<Login>,
) -> Result<Response, Failure> {
    check_origin(&headers)?;
    let presented = format!("Bearer {}", form.key.trim());
    if !peer.takes_key() || peer.admit(Some(presented.as_bytes())).is_none() {
        return page::locked(WRONG_KEY, peer.takes_key());
    }
    Ok(begin_session(&shared))
}

async fn logout(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    check_origin(&headers)?;
    if let Some(session) = shared.console.session(&headers) {
        shared.console.access.lock().end_session(session);
    }
    let cookie = shared.console.cookie("", Duration::ZERO);
    Ok((cookie, Redirect::to(PAGE)).into_response())
}

fn begin_session(shared: &Shared) -> Response {
    let ticket = Ticket::new(shared.rng.as_ref());
    let now = shared.node.clock.monotonic();
    shared.console.access.lock().add_session(&ticket, now);
    tracing::info!("a console session begins");
    let cookie = shared.console.cookie(ticket.text(), SESSION_LIFE);
    (cookie, Redirect::to(PAGE)).into_response()
}

/// A form counts only when this page sent it.
fn check_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    match (origin, text(header::HOST)) {
        (Some((_, origin)), Some(host)) if origin == host => Ok(()),
        _ => Err(Failure::new(
            StatusCode::FORBIDDEN,
            codes::store::NOT_ALLOWED,
            "the form was not sent by the console's own page",
        )),
    }
}
