//! One call to a registry: connection, credentials, redirects, repetition.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::{Cause, Inner, RegistryError, Repository, challenge};

/// Repetitions of one call or one blob.
pub(super) const TRIES_MAX: u32 = 5;
/// Longest pause that a registry may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// From the end of a request to the head of its answer, and between two pieces of a body.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// A blob on its way up: slower than this many bytes a second is a lost connection.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 20 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
const REDIRECTS_MAX: usize = 5;
/// Part of an error answer that is read for its message.
const ERROR_BYTES_MAX: usize = 64 * 1024;

pub(super) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that is in memory.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body whose length is known beforehand.
pub(super) struct Measured {
    inner: Body,
    left: u64,
}

impl Measured {
    pub(super) fn new(inner: Body, size: u64) -> Self {
        Self { inner, left: size }
    }
}

impl hyper::body::Body for Measured {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(data)) = frame.as_ref().map(|f| f.as_ref().map(Frame::data_ref)) {
            let length = data.map_or(0, Bytes::len) as u64;
            self.left = self.left.saturating_sub(length);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Whether a host, with or without port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Pooled connections. The trusted roots are read when the first call is made.
#[derive(Default)]
pub(super) struct Client {
    pool: OnceLock<Pool<HttpsConnector<HttpConnector>, Body>>,
}

impl Client {
    fn pool(&self) -> Result<&Pool<HttpsConnector<HttpConnector>, Body>, Cause> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let mut roots = rustls::RootCertStore::empty();
        // A damaged certificate among many is no reason to trust none.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Ok(self.pool.get_or_init(|| pool))
    }

    /// Sends one request and waits for the head of the answer.
    pub(super) async fn call(
        &self,
        request: Request<Body>,
        operation: &str,
    ) -> Result<Response<Incoming>, RegistryError> {
        let host = request.uri().authority().map(|a| a.as_str().to_owned());
        let host = host.unwrap_or_default();
        if request.uri().scheme_str() != Some("https") && !is_loopback(&host) {
            return Err(RegistryError::PlainHttp(host));
        }
        let failed = |source: Cause| RegistryError::Connection {
            operation: operation.to_owned(),
            source,
        };
        let length = hyper::body::Body::size_hint(request.body()).exact();
        let upload = length.unwrap_or(0) / UPLOAD_BYTES_PER_SECOND_MIN;
        let limit = ANSWER_LIMIT + Duration::from_secs(upload);
        let answer = self.pool().map_err(failed)?.request(request);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|e| failed(e.into())),
            Err(_) => Err(RegistryError::Timeout {
                operation: operation.to_owned(),
                limit,
            }),
        }
    }
}

/// A whole small body.
pub(super) async fn read(
    response: Response<Incoming>,
    max: usize,
    operation: &str,
) -> Result<Bytes, RegistryError> {
    let body = Limited::new(response.into_body(), max).collect();
    match tokio::time::timeout(ANSWER_LIMIT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(source)) if source.is::<http_body_util::LengthLimitError>() => {
            Err(RegistryError::Answer {
                operation: operation.to_owned(),
                reason: format!("the answer has more than {max} bytes"),
            })
        }
        Ok(Err(source)) => Err(RegistryError::Connection {
            operation: operation.to_owned(),
            source,
        }),
        Err(_) => Err(RegistryError::Timeout {
            operation: operation.to_owned(),
            limit: ANSWER_LIMIT,
        }),
    }
}

/// What a call is about.
pub(super) struct Call<'a> {
    pub(super) repository: &'a Repository,
    /// In words, for errors.
    pub(super) operation: String,
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    /// What the token must allow.
    pub(super) scopes: &'a [String],
    /// Makes the body; called anew for each repetition.
    pub(super) body: &'a (dyn Fn() -> Body + Sync),
    /// Repeated here when it fails in passing. Otherwise the caller starts over.
    pub(super) repeat: bool,
}

/// The body of calls without one.
pub(super) fn nothing() -> Body {
    full(Bytes::new())
}

impl Inner {
    /// Makes a call; the answer has any status but 401 and those that say "later".
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Response<Incoming>, RegistryError> {
        let mut failed = 0;
        loop {
            match self.try_send(call).await {
                Ok(response) if !is_later(response.status()) => return Ok(response),
                Ok(response) if !call.repeat || failed + 1 >= TRIES_MAX => {
                    return Err(refused(call, response).await);
                }
                Ok(response) => self.pause(failed, retry_after(&response)).await,
                Err(e) if !call.repeat || !e.is_passing() || failed + 1 >= TRIES_MAX => {
                    return Err(e);
                }
                Err(_) => self.pause(failed, None).await,
            }
            failed += 1;
        }
    }

    /// Waits as long as asked, else longer after each failure, never twice the same.
    pub(super) async fn pause(&self, failed: u32, asked: Option<Duration>) {
        let base = self.retry_pause * 2_u32.saturating_pow(failed.min(10));
        let spread = u64::try_from(base.as_millis()).unwrap_or(u64::MAX).max(1);
        let jitter = Duration::from_millis(self.rng.next_u64() % spread);
        let pause = asked.unwrap_or(base / 2 + jitter);
        tokio::time::sleep(pause.min(PAUSE_MAX)).await;
    }

    /// Once, but with as many redirects as it takes, and with one answer to a challenge.
    async fn try_send(&self, call: &Call<'_>) -> Result<Response<Incoming>, RegistryError> {
        let registry = &call.repository.registry;
        let home = authority(&call.repository.base_url());
        let mut url = call.url.clone();
        let mut header = self.known_token(registry, call.scopes);
        let mut asked = false;
        for _ in 0..=REDIRECTS_MAX {
            // Credentials stay at the registry: a redirect or an upload elsewhere has its own.
            let at_home = authority(&url) == home;
            let mut request = Request::builder().method(call.method.clone()).uri(&url);
            if let Some(headers) = request.headers_mut() {
                headers.extend(call.headers.clone());
                if let Some(header) = header.as_ref().filter(|_| at_home) {
                    headers.insert(AUTHORIZATION, header.expose().clone());
                }
            }
            let request = request
                .body((call.body)())
                .map_err(|_| answer_error(call, format!("`{url}` is no URL")))?;
            let response = self.client.call(request, &call.operation).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && at_home && !asked {
                asked = true;
                let Some(challenge) = read_challenge(response.headers()) else {
                    return Err(denied(call));
                };
                header = self.authenticate(registry, call.scopes, &challenge).await?;
                if header.is_none() {
                    return Err(denied(call));
                }
                continue;
            }
            if status == StatusCode::UNAUTHORIZED {
                return Err(denied(call));
            }
            let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !moved || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(response);
            }
            let target = header_text(response.headers(), LOCATION.as_str())
                .ok_or_else(|| answer_error(call, "a redirect without a target".to_owned()))?;
            url = resolve_location(&url, target)
                .ok_or_else(|| answer_error(call, "a redirect to no URL".to_owned()))?;
        }
        Err(answer_error(call, "too many redirects".to_owned()))
    }
}

fn is_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn read_challenge(headers: &HeaderMap) -> Option<challenge::Challenge> {
    let all: Vec<&str> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    challenge::parse(&all.join(", "))
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = header_text(response.headers(), RETRY_AFTER.as_str())?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

fn answer_error(call: &Call<'_>, reason: String) -> RegistryError {
    RegistryError::Answer {
        operation: call.operation.clone(),
        reason,
    }
}

fn denied(call: &Call<'_>) -> RegistryError {
    RegistryError::Denied {
        registry: call.repository.registry.clone(),
        operation: call.operation.clone(),
    }
}

/// The error of an answer that is a failure, with the registry's own words.
pub(super) async fn refused(call: &Call<'_>, response: Response<Incoming>) -> RegistryError {
    /// Error body of the distribution-spec.
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Problem>,
    }
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    match status {
        StatusCode::FORBIDDEN => return denied(call),
        StatusCode::NOT_FOUND => return RegistryError::NotFound(call.operation.clone()),
        _ => {}
    }
    let text = read(response, ERROR_BYTES_MAX, &call.operation).await;
    let errors = text
        .ok()
        .and_then(|t| serde_json::from_slice::<Errors>(&t).ok());
    let words = errors.and_then(|e| e.errors.into_iter().next());
    RegistryError::Status {
        operation: call.operation.clone(),
        status: status.as_u16(),
        detail: words.map_or_else(String::new, |p| format!(": {} {}", p.code, p.message)),
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// A `Location`, which may be relative, against the URL that was called. Its query may carry
/// state and is kept as it is.
pub(super) fn resolve_location(base: &str, location: &str) -> Option<String> {
    if location.starts_with("https://") || location.starts_with("http://") {
        return location.parse::<Uri>().ok().map(|_| location.to_owned());
    }
    let uri: Uri = base.parse().ok()?;
    let origin = authority(base)?;
    if location.starts_with("//") {
        return Some(format!("{}:{location}", uri.scheme_str()?));
    }
    if location.starts_with('/') {
        return Some(format!("{origin}{location}"));
    }
    let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{origin}{folder}/{location}"))
}
