//! The exchange of an AI route: reads the request whole, finds the model's lane, records the call,
//! sends the client's bytes with the vendor's name of the model, and relays the answer.

mod body;
mod call;
mod local;
mod relay;
mod terms;

use lockgate_llm::{ChatRequest, Rewrite, Rewritten};
use lockgate_model::ai as model;

use self::call::Call;
use self::relay::Relay;
pub(crate) use self::terms::KnownTerms;
use super::exchange::{Sent, attempt};
use super::plan::{Plan, put_field};
use super::{Conn, Outcome};
use crate::failure::{Extra, Failure, Kind, Retry};
use crate::h1::write::put_number;
use crate::io::Link;
use crate::metrics::Counter;
use crate::table::ai::{AiRoute, Lane, Model, Vendor};
use crate::trace::Trace;
use crate::upstream::Wanted;

/// Most tries of one request. A second one is made only when the vendor has not seen the first.
const TRIES_MAX: u32 = 2;
/// Bytes of text per token when nobody counts: what English needs on average.
const BYTES_PER_TOKEN: u64 = 4;

/// What is asked of an AI route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A call to a vendor.
    Call(model::Operation),
    /// The list of models.
    Models,
    /// One model, by its alias.
    FindModel(Box<str>),
}

/// The operation of a path, which is in normal form and without the route's prefix.
pub(crate) fn operation(method: &str, path: &str) -> Result<Operation, Failure> {
    let (expected, found) = match path {
        "/v1/chat/completions" => ("POST", Operation::Call(model::Operation::Chat)),
        "/v1/embeddings" => ("POST", Operation::Call(model::Operation::Embeddings)),
        "/v1/models" => ("GET", Operation::Models),
        _ => match path.strip_prefix("/v1/models/") {
            Some(alias) if !alias.is_empty() => ("GET", Operation::FindModel(alias.into())),
            _ => return Err(Kind::NoRoute.into()),
        },
    };
    if method != expected {
        return Err(Failure {
            extra: Extra::Allow(expected.to_owned()),
            ..Kind::MethodNotAllowed.into()
        });
    }
    Ok(found)
}

/// Fields of a client that its vendor may see: what describes the request, never who makes it.
pub(crate) fn is_for_vendor(name: &[u8]) -> bool {
    const NAMES: [&str; 5] = [
        "content-type",
        "accept",
        "user-agent",
        "openai-beta",
        "idempotency-key",
    ];
    const PREFIX: &[u8] = b"x-stainless-";
    NAMES
        .iter()
        .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Fields of a vendor that speak of our account with it.
pub(crate) fn is_vendors_own(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 5] = [
        b"x-ratelimit-",
        b"openai-organization",
        b"openai-project",
        b"set-cookie",
        b"www-authenticate",
    ];
    PREFIXES.iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

/// Runs one exchange up to its end.
pub(super) async fn exchange<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
) -> Outcome {
    let Some(route) = &plan.route().ai else {
        return Outcome::Refuse(Kind::NoRoute.into());
    };
    let answered = match &plan.ai {
        Some(Operation::Call(operation)) => {
            // Apart, so that what a call needs up to its answer is gone while the answer streams.
            match Box::pin(call(conn, plan, trace, route, *operation)).await {
                Ok(relay) => relay.run(conn, trace).await,
                Err(failure) => Err(failure),
            }
        }
        Some(Operation::FindModel(alias)) => {
            local::find_model(conn, plan, trace, route, alias).await
        }
        Some(Operation::Models) | None => local::models(conn, plan, trace, route).await,
    };
    answered.unwrap_or_else(Outcome::Refuse)
}

/// Makes the call, up to the head of its answer.
async fn call<'p, L: Link>(
    conn: &mut Conn<L>,
    plan: &'p Plan,
    trace: &mut Trace,
    route: &'p AiRoute,
    operation: model::Operation,
) -> Result<Relay<'p>, Failure> {
    let core = std::rc::Rc::clone(&conn.core);
    let kept = std::mem::replace(&mut conn.out, core.take_out());
    let body = body::read(conn, plan, trace).await?;
    let request = ChatRequest::parse(&body).map_err(|fault| Failure {
        extra: Extra::Told(fault.to_string()),
        ..Kind::BadAiRequest.into()
    })?;
    let model = find(route, &request.model)?;
    let turn = core.next_turn();
    let lane = model.lane(turn).ok_or(Kind::NoEndpoint)?;
    let stream = request.stream && operation == model::Operation::Chat;
    let hide_usage = stream && !request.include_usage;
    let place = (&plan.table, plan.route);
    let terms = core
        .terms
        .borrow_mut()
        .of(place, trace, (model, lane), operation);
    let start = model::CallStart {
        at: trace.at,
        terms,
        stream,
        input_estimate: (body.len() as u64).div_ceil(BYTES_PER_TOKEN),
    };
    let rewrite = Rewrite {
        model: &lane.vendor_model,
        include_usage: hide_usage,
    };
    let sent = request.rewrite(&body, rewrite);
    write_request(conn, &lane.vendor, operation, trace, &kept, &sent);
    drop((sent, request));
    core.give_out(kept);
    core.give_out(body);
    send(conn, plan, trace, lane, &start, hide_usage, turn).await
}

fn find<'r>(route: &'r AiRoute, alias: &str) -> Result<&'r Model, Failure> {
    let found = route.models.get(alias);
    found.map(|model| &**model).ok_or_else(|| {
        let shown: String = alias.chars().take(100).collect();
        Failure {
            extra: Extra::Told(format!(
                "the model `{shown}` does not exist or may not be used here"
            )),
            ..Kind::UnknownModel.into()
        }
    })
}

/// Writes the vendor's request to `conn.out`.
fn write_request<L>(
    conn: &mut Conn<L>,
    vendor: &Vendor,
    operation: model::Operation,
    trace: &Trace,
    kept: &[u8],
    body: &Rewritten<'_>,
) {
    let path = match operation {
        model::Operation::Chat => "/chat/completions",
        model::Operation::Embeddings => "/embeddings",
    };
    let out = &mut conn.out;
    out.clear();
    for part in ["POST ", &vendor.path, path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    put_field(out, b"host", vendor.host.as_bytes());
    if let Some(key) = &vendor.key {
        out.extend_from_slice(b"authorization: Bearer ");
        out.extend_from_slice(key.expose().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(kept);
    // The tokens are read from the answer, so it must come as it is.
    put_field(out, b"accept-encoding", b"identity");
    put_field(out, b"x-request-id", &trace.id);
    out.extend_from_slice(b"content-length: ");
    put_number(out, body.length() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    body.put(out);
}

/// Sends the request in `conn.out`; each try is a call with its own row.
async fn send<'p, L: Link>(
    conn: &mut Conn<L>,
    plan: &'p Plan,
    trace: &mut Trace,
    lane: &'p Lane,
    start: &model::CallStart,
    hide_usage: bool,
    turn: u64,
) -> Result<Relay<'p>, Failure> {
    let upstream = &plan.table.upstreams[lane.vendor.upstream as usize];
    trace.upstream = Some(upstream.name.clone());
    if upstream.endpoints.is_empty() {
        return Err(Kind::NoEndpoint.into());
    }
    let core = std::rc::Rc::clone(&conn.core);
    let mut at = usize::try_from(turn % upstream.endpoints.len() as u64).unwrap_or(0);
    // The kernel itself must say that a kept connection is alive: a call may not be made twice.
    let mut wanted = Wanted::Proven;
    loop {
        trace.attempts += 1;
        let mut call = Call::start(&core, trace, start)?;
        let mut sent = Sent::after_continue();
        let mut reused = false;
        let endpoint = &upstream.endpoints[at];
        let failure =
            match attempt(conn, plan, trace, endpoint, wanted, &mut sent, &mut reused).await {
                Ok((upstream, answer)) => {
                    let key = lane.vendor.key.as_ref();
                    return Ok(Relay::new(plan, call, upstream, answer, key, hide_usage));
                }
                Err(failure) => failure,
            };
        call.fail(&failure)?;
        let again = match failure.kind.retry() {
            Retry::No => false,
            Retry::Yes => upstream.endpoints.len() > 1,
            Retry::IfReused => reused && !sent.any,
        };
        if !again || trace.attempts >= TRIES_MAX {
            return Err(failure);
        }
        core.metrics.add(Counter::Retries, 1);
        match failure.kind.retry() {
            Retry::IfReused => wanted = Wanted::Fresh,
            Retry::Yes | Retry::No => at = (at + 1) % upstream.endpoints.len(),
        }
    }
}

#[cfg(test)]
mod tests;
