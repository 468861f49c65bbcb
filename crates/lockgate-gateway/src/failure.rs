//! The one shape of every failure, and the one function that turns it into an answer.
//!
//! `kind.reason()` is the label in logs, metrics and the problem JSON. The cause is for the access
//! log only: it never reaches a client.

use crate::h1::write::{put_number, put_quoted};

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Gateway,
    Upstream,
}

impl Side {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// No byte of the request left, or the peer proved that it did not process it.
    Yes,
    No,
    /// Only when the connection had been used before: then it was probably closed under us.
    IfReused,
}

/// Declares the closed set of kinds as one table.
macro_rules! kinds {
    ($($kind:ident $reason:literal $side:ident $status:literal $retry:ident $title:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            /// Every kind, in the order of its discriminant.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            /// The low-cardinality label.
            pub(crate) const fn reason(self) -> &'static str { match self { $(Self::$kind => $reason),* } }
            /// Who is at fault.
            pub(crate) const fn side(self) -> Side { match self { $(Self::$kind => Side::$side),* } }
            /// Status of the answer, when one can still be sent.
            pub(crate) const fn status(self) -> u16 { match self { $(Self::$kind => $status),* } }
            /// Whether another try may help.
            pub(crate) const fn retry(self) -> Retry { match self { $(Self::$kind => Retry::$retry),* } }
            const fn title(self) -> &'static str { match self { $(Self::$kind => $title),* } }
        }
    };
}

kinds! {
    BadFraming "bad_framing" Client 400 No "the request is not well-formed HTTP";
    BadTarget "bad_target" Client 400 No "the request target is malformed or ambiguous";
    BadHost "bad_host" Client 400 No "exactly one well-formed Host is required";
    BadField "bad_field" Client 400 No "a header field is malformed, repeated or not allowed here";
    HeadTooLarge "head_too_large" Client 431 No "the request head is too large";
    TargetTooLong "target_too_long" Client 414 No "the request target is too long";
    BodyTooLarge "body_too_large" Client 413 No "the request body is larger than this route allows";
    HeadTimeout "head_timeout" Client 408 No "the request head did not arrive in time";
    BodyTimeout "body_timeout" Client 408 No "the request body did not arrive in time";
    UnknownCoding "unknown_coding" Client 501 No "the transfer coding is not supported";
    BadVersion "bad_version" Client 505 No "only HTTP/1.0 and HTTP/1.1 are supported";
    BadExpectation "bad_expectation" Client 417 No "the expectation cannot be met";
    Gone "gone" Client 499 No "the client left";
    NoRoute "no_route" Gateway 404 No "no route takes this request";
    MethodNotAllowed "method_not_allowed" Gateway 405 No "the method is not allowed here";
    Unauthenticated "unauthenticated" Gateway 401 No "a valid API key is required";
    Forbidden "forbidden" Gateway 403 No "this consumer may not call this route";
    Limited "limited" Gateway 429 No "too many requests";
    CircuitOpen "circuit_open" Gateway 503 No "too many requests are under way to this upstream";
    NoEndpoint "no_endpoint" Gateway 503 No "nothing serves this route right now";
    Timeout "timeout" Gateway 504 No "the exchange took longer than its total time limit";
    Draining "draining" Gateway 503 No "the gateway is shutting down";
    Refused "refused" Upstream 502 Yes "the upstream could not be reached";
    ConnectTimeout "connect_timeout" Upstream 504 Yes "connecting to the upstream took too long";
    UpstreamTls "upstream_tls" Upstream 502 Yes "no trusted TLS connection to the upstream came about";
    ResetBeforeHead "reset_before_head" Upstream 502 IfReused "the upstream closed the connection without an answer";
    UpstreamHeadTimeout "upstream_head_timeout" Upstream 504 No "the upstream did not answer in time";
    BadResponse "bad_response" Upstream 502 No "the upstream's answer is not well-formed HTTP";
    UpstreamHeadTooLarge "head_too_large_up" Upstream 502 No "the head of the upstream's answer is too large";
    Truncated "truncated" Upstream 502 No "the upstream's answer ended early";
    BadAiRequest "bad_ai_request" Client 400 No "the request cannot be understood";
    UnknownModel "model_not_found" Gateway 404 No "the model does not exist or may not be used here";
    NoLedger "no_ledger" Gateway 503 No "the call could not be recorded, so it was not made";
    VendorKeyRefused "vendor_key_refused" Upstream 503 No "the vendor does not accept the gateway's credentials";
    BadAnswer "bad_answer" Upstream 502 No "the vendor's answer cannot be understood";
    IdleTimeout "idle_timeout" Upstream 504 No "the upstream stopped sending";
}

/// What an answer carries besides the problem itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Extra {
    #[default]
    None,
    /// `Allow` of a 405.
    Allow(String),
    /// Wait and window of a 429, in seconds.
    Limit { wait: u64, burst: u64, window: u64 },
    /// What is wrong, in words for the client of an AI route.
    Told(String),
}

/// One failure of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) extra: Extra,
    /// For the access log only.
    pub(crate) cause: Option<Box<str>>,
}

impl Failure {
    pub(crate) fn because(kind: Kind, cause: impl std::fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string().into()),
            ..Self::from(kind)
        }
    }
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            extra: Extra::None,
            cause: None,
        }
    }
}

/// What [`respond`] must know of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answering<'a> {
    pub(crate) request_id: &'a str,
    /// Value of `Date`.
    pub(crate) date: &'a [u8],
    /// A HEAD request: no body follows.
    pub(crate) head_only: bool,
    /// The connection closes after this answer.
    pub(crate) close: bool,
    /// Who asked, which decides the body's form.
    pub(crate) form: Form,
}

/// The form of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// RFC 9457.
    #[default]
    Problem,
    /// What clients of the OpenAI API read.
    OpenAi,
}

impl Form {
    const fn content_type(self) -> &'static [u8] {
        match self {
            Self::Problem => b"application/problem+json",
            Self::OpenAi => b"application/json",
        }
    }
}

/// Appends the whole answer to `out`. No other code writes error answers.
pub(crate) fn respond(failure: &Failure, to: Answering<'_>, out: &mut Vec<u8>) {
    let status = failure.kind.status();
    let mut body = Vec::with_capacity(256);
    match to.form {
        Form::Problem => problem(failure.kind, to.request_id, &mut body),
        Form::OpenAi => openai_error(failure, &mut body),
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(out, u64::from(status));
    out.extend_from_slice(b" ");
    out.extend_from_slice(phrase(status));
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(to.date);
    out.extend_from_slice(b"\r\ncontent-type: ");
    out.extend_from_slice(to.form.content_type());
    out.extend_from_slice(b"\r\nx-request-id: ");
    out.extend_from_slice(to.request_id.as_bytes());
    out.extend_from_slice(b"\r\ncontent-length: ");
    put_number(out, body.len() as u64);
    out.extend_from_slice(b"\r\n");
    if failure.kind == Kind::Unauthenticated {
        out.extend_from_slice(b"www-authenticate: ApiKey realm=\"gateway\"\r\n");
    }
    match &failure.extra {
        Extra::Limit {
            wait,
            burst,
            window,
        } => {
            out.extend_from_slice(b"retry-after: ");
            put_number(out, *wait);
            out.extend_from_slice(b"\r\nratelimit-policy: \"route\";q=");
            put_number(out, *burst);
            out.extend_from_slice(b";w=");
            put_number(out, *window);
            out.extend_from_slice(b"\r\nratelimit: \"route\";r=0;t=");
            put_number(out, *wait);
            out.extend_from_slice(b"\r\n");
        }
        Extra::Allow(methods) => {
            out.extend_from_slice(b"allow: ");
            out.extend_from_slice(methods.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // A repeat cannot help, and the SDKs would make two.
        Extra::None if failure.kind == Kind::VendorKeyRefused => {
            out.extend_from_slice(b"x-should-retry: false\r\n");
        }
        Extra::None | Extra::Told(_) if status == 503 => {
            out.extend_from_slice(b"retry-after: 1\r\n")
        }
        Extra::None | Extra::Told(_) => {}
    }
    if to.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !to.head_only {
        out.extend_from_slice(&body);
    }
}

/// Appends the problem object (RFC 9457).
fn problem(kind: Kind, request_id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"title\":");
    put_quoted(out, kind.title());
    out.extend_from_slice(b",\"status\":");
    put_number(out, u64::from(kind.status()));
    out.extend_from_slice(b",\"reason\":");
    put_quoted(out, kind.reason());
    out.extend_from_slice(b",\"request_id\":");
    put_quoted(out, request_id);
    out.extend_from_slice(b"}");
}

/// Appends the error object of the OpenAI API.
fn openai_error(failure: &Failure, out: &mut Vec<u8>) {
    let kind = failure.kind;
    out.extend_from_slice(b"{\"error\":{\"message\":");
    match &failure.extra {
        Extra::Told(text) => put_quoted(out, text),
        _ => put_quoted(out, kind.title()),
    }
    out.extend_from_slice(b",\"type\":");
    put_quoted(
        out,
        match kind.status() {
            429 => "rate_limit_error",
            403 => "permission_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        },
    );
    out.extend_from_slice(b",\"param\":null,\"code\":");
    put_quoted(
        out,
        match kind {
            Kind::Unauthenticated => "invalid_api_key",
            Kind::Limited => "rate_limit_exceeded",
            kind => kind.reason(),
        },
    );
    out.extend_from_slice(b"}}");
}

/// Appends the event that ends a broken stream of chat chunks. No `[DONE]` follows it.
pub(crate) fn openai_error_event(failure: &Failure, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    openai_error(failure, out);
    out.extend_from_slice(b"\n\n");
}

/// Appends the one event that ends a broken event stream. The blank lines close whatever event
/// was cut; no end marker of a healthy stream is ever sent.
pub(crate) fn error_event(kind: Kind, request_id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\nevent: error\ndata: ");
    problem(kind, request_id, out);
    out.extend_from_slice(b"\n\n");
}

/// The reason phrases of the statuses above.
fn phrase(status: u16) -> &'static [u8] {
    match status {
        400 => b"Bad Request",
        401 => b"Unauthorized",
        403 => b"Forbidden",
        404 => b"Not Found",
        405 => b"Method Not Allowed",
        408 => b"Request Timeout",
        413 => b"Content Too Large",
        414 => b"URI Too Long",
        417 => b"Expectation Failed",
        429 => b"Too Many Requests",
        431 => b"Request Header Fields Too Large",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        505 => b"HTTP Version Not Supported",
        _ => b"Error",
    }
}
