//! The operations of the API and what surrounds each of them: request id, admission, failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use lockgate_control::{Caller, Control};
use lockgate_diag::codes;
use lockgate_model::{Clock, Rng, Timestamp};
use tokio::sync::mpsc;

use crate::console::{self, Console, OpenConsole};
use crate::failure::Failure;
use crate::handlers::{ai, node, objects, services};
use crate::server::Peer;

/// Largest request body: a service with a large environment stays far below it.
const BODY_BYTES_MAX: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the API says of the process it runs in, and how it ends it.
pub struct NodeInfo {
    /// Release.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Addresses the node listens on.
    pub addresses: Vec<SocketAddr>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Takes a shutdown that was asked for; room for one is enough.
    pub shutdown: mpsc::Sender<Shutdown>,
    /// Asks for the console's port; the other end is [`serve_console`](crate::serve_console)'s.
    pub console: mpsc::Sender<OpenConsole>,
    /// The control side's clock: what the console shows is measured with it.
    pub clock: Arc<dyn Clock>,
}

/// How a node was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Time open requests have to finish.
    pub drain: Duration,
    /// Services run on; the next node adopts them.
    pub keep_services: bool,
}

/// The API over one node.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) control: Arc<Control>,
    pub(crate) node: NodeInfo,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) console: Console,
}

impl Api {
    /// Request ids and the console's links come from `rng`.
    pub fn new(control: Arc<Control>, node: NodeInfo, rng: Arc<dyn Rng>) -> Self {
        Self(Arc::new(Shared {
            console: Console::new(rng.as_ref()),
            control,
            node,
            rng,
        }))
    }

    pub(crate) fn console_in_use(&self) -> bool {
        self.0.console.in_use(self.0.node.clock.monotonic())
    }

    pub(crate) fn router(&self) -> Router {
        let shared = Arc::clone(&self.0);
        Router::new()
            .route("/v1/status", get(node::status))
            .route("/v1/shutdown", post(node::shutdown))
            .route("/v1/gateway", get(node::gateway))
            .route("/v1/audit", get(node::audit))
            .route("/v1/console/links", post(node::console_link))
            .route("/metrics", get(node::metrics))
            .route("/v1/services", get(services::list))
            .route(
                "/v1/services/{project}/{stack}/{name}",
                put(services::apply)
                    .get(services::find)
                    .delete(services::remove),
            )
            .route(
                "/v1/services/{project}/{stack}/{name}/logs",
                get(services::logs),
            )
            .route(
                "/v1/routes/{project}/{stack}/{name}",
                put(objects::apply_route)
                    .get(objects::find_route)
                    .delete(objects::remove_route),
            )
            .route(
                "/v1/routes/{project}/{stack}/{name}/traffic",
                get(objects::traffic),
            )
            .route(
                "/v1/consumers/{project}/{stack}/{name}",
                put(objects::apply_consumer)
                    .get(objects::find_consumer)
                    .delete(objects::remove_consumer),
            )
            .route(
                "/v1/api-keys/{id}",
                put(objects::apply_api_key)
                    .get(objects::find_api_key)
                    .delete(objects::remove_api_key),
            )
            .route(
                "/v1/ai/vendors/{project}/{stack}/{name}",
                put(ai::apply_vendor)
                    .get(ai::find_vendor)
                    .delete(ai::remove_vendor),
            )
            .route(
                "/v1/ai/models/{project}/{stack}/{name}",
                put(ai::apply_model)
                    .get(ai::find_model)
                    .delete(ai::remove_model),
            )
            .route("/v1/ai/totals", get(ai::totals))
            .route("/v1/ai/usage", get(ai::usage))
            .fallback(unknown_path)
            .method_not_allowed_fallback(unknown_method)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(Arc::clone(&shared), surround))
            .merge(console::router(&shared))
            .with_state(shared)
    }
}

async fn unknown_path(request: Request) -> Failure {
    Failure::not_found(format!("the API has no path `{}`", request.uri().path()))
}

async fn unknown_method(request: Request) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        codes::store::BAD_REQUEST,
        format!(
            "`{}` does not take `{}`",
            request.uri().path(),
            request.method()
        ),
    )
}

/// Outermost layer: names the request, admits or refuses its peer, renders a failure.
async fn surround(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let id = format!("{:016x}", shared.rng.next_u64());
    let peer = request.extensions().get::<Peer>().cloned();
    let presented = request.headers().get(header::AUTHORIZATION);
    let admitted = peer.and_then(|peer| peer.admit(presented.map(HeaderValue::as_bytes)));
    let mut response = match admitted {
        Some(actor) => {
            let request_id = id.clone();
            request.extensions_mut().insert(CallerHolder(Caller {
                actor,
                request: request_id,
            }));
            next.run(request).await
        }
        None => Failure::new(
            StatusCode::UNAUTHORIZED,
            codes::store::NOT_ALLOWED,
            "the caller may not use this node",
        )
        .into_response(),
    };
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        failure.log(&id);
        let body = serde_json::to_vec(&failure.problem(&id)).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        response = (failure.status, [(header::CONTENT_TYPE, kind)], body).into_response();
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The caller of a request, as [`surround`] found it.
#[derive(Clone)]
pub(crate) struct CallerHolder(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for CallerHolder {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let holder = parts.extensions.get::<Self>().cloned();
        holder.ok_or_else(|| Failure::bad_request("the request has no caller"))
    }
}
