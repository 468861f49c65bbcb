//! One exchange: picks an endpoint, sends the request, reads the answer's head, and decides
//! whether a failure may be tried again.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::forward::{self, Answer};
use super::plan::Plan;
use super::{Conn, Outcome, ai, poll_fill, relay};
use crate::failure::{Failure, Kind, Retry};
use crate::h1::body::Framing;
use crate::h1::body::Piece;
use crate::h1::head::Scan;
use crate::h1::write::{LAST_CHUNK, put_chunk};
use crate::io::{Link, Stop, write_both};
use crate::metrics::Counter;
use crate::settings::RATE_GRACE;
use crate::table::Endpoint;
use crate::trace::Trace;
use crate::upstream::{Upstream, Wanted};

/// Most tries of one request, the first included.
const TRIES_MAX: usize = 3;
/// Most interim answers before the final one.
const INTERIM_MAX: usize = 8;
/// A counted body with this much to come is read with large buffers.
pub(super) const LARGE_FROM: u64 = 64 * 1024;

/// What happened to the request on one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// At least one byte was taken by the connection.
    pub(super) any: bool,
    /// `out` was reused for more of the body, so the request cannot be repeated.
    streamed: bool,
    /// 100 was passed to the client.
    continued: bool,
}

impl Sent {
    /// Of a request whose body was read already, so that nobody waits for 100.
    pub(super) fn after_continue() -> Self {
        Self {
            continued: true,
            ..Self::default()
        }
    }
}

/// Runs one exchange up to its end.
pub(crate) async fn exchange<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
) -> Outcome {
    let route = plan.route();
    if plan.ai.is_some() {
        // Apart, so that plain exchanges do not pay for its size.
        return Box::pin(ai::exchange(conn, plan, trace)).await;
    }
    let core = std::rc::Rc::clone(&conn.core);
    let turn = core.next_turn();
    let upstream = &plan.table.upstreams[route.backend(turn) as usize];
    trace.upstream = Some(Arc::clone(&upstream.name));
    if upstream.endpoints.is_empty() {
        return Outcome::Refuse(Kind::NoEndpoint.into());
    }
    core.pools.borrow_mut().earn(&upstream.name);
    if let Err(failure) = stage_body(conn, plan, trace) {
        return Outcome::Refuse(failure);
    }
    let mut wanted = if plan.repeatable {
        Wanted::Any
    } else {
        Wanted::Proven
    };
    let mut at = usize::try_from(turn % upstream.endpoints.len() as u64).unwrap_or(0);
    for tried in 1.. {
        trace.attempts += 1;
        let mut sent = Sent::default();
        let mut reused = false;
        let endpoint = &upstream.endpoints[at];
        let failure =
            match attempt(conn, plan, trace, endpoint, wanted, &mut sent, &mut reused).await {
                Ok((upstream, answer)) => {
                    return relay::relay(conn, plan, trace, upstream, answer).await;
                }
                Err(failure) => failure,
            };
        let again = match failure.kind.retry() {
            Retry::No => false,
            // Nothing left: any other endpoint will do.
            Retry::Yes => tried < upstream.endpoints.len(),
            Retry::IfReused => reused && !sent.streamed && (plan.repeatable || !sent.any),
        };
        // A repeat after a stale connection costs nothing from the budget: every pooled
        // connection stands for a whole answer, so such repeats never outnumber the answers.
        let paid = failure.kind.retry() == Retry::IfReused
            || (again && core.pools.borrow_mut().spend(&upstream.name));
        if !again || tried == TRIES_MAX || !paid {
            return Outcome::Refuse(failure);
        }
        core.metrics.add(Counter::Retries, 1);
        match failure.kind.retry() {
            Retry::IfReused => wanted = Wanted::Fresh,
            Retry::Yes | Retry::No => at = (at + 1) % upstream.endpoints.len(),
        }
    }
    Outcome::Refuse(Kind::NoEndpoint.into())
}

/// One try on one connection, up to the answer's head in `conn.out`.
pub(super) async fn attempt<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    endpoint: &Arc<Endpoint>,
    wanted: Wanted,
    sent: &mut Sent,
    reused: &mut bool,
) -> Result<(Upstream, Answer), Failure> {
    let times = &plan.route().timeouts;
    let core = std::rc::Rc::clone(&conn.core);
    let time = (times.connect, plan.deadline);
    let mut upstream = Upstream::acquire(&core, endpoint, wanted, &mut conn.timer, time)
        .await
        .map_err(|failure| total_first(plan, failure))?;
    *reused = upstream.reused;
    conn.timer.set_within(times.idle, plan.deadline);
    let mut early = send(conn, plan, &mut upstream, sent).await?;
    if !early && !conn.body.is_done() {
        sent.streamed = true;
        conn.out.clear();
        early = stream_body(conn, plan, trace, &mut upstream, sent).await?;
    }
    let answer = read_head(conn, plan, &mut upstream, sent, early).await?;
    Ok((upstream, answer))
}

/// Names the total time limit when that is what ran out.
fn total_first(plan: &Plan, failure: Failure) -> Failure {
    let over = plan.deadline.is_some_and(|d| Instant::now() >= d);
    if over
        && matches!(
            failure.kind,
            Kind::ConnectTimeout
                | Kind::UpstreamHeadTimeout
                | Kind::IdleTimeout
                | Kind::BodyTimeout
        )
    {
        Kind::Timeout.into()
    } else {
        failure
    }
}

/// Moves what is here of the request's body to `out`, in the framing the upstream was told.
fn stage_body<L>(conn: &mut Conn<L>, plan: &Plan, trace: &mut Trace) -> Result<(), Failure> {
    loop {
        let piece = conn
            .body
            .next(conn.input.filled())
            .map_err(|_| Kind::BadFraming)?;
        match piece {
            Piece::Data(n) => {
                trace.request_bytes += n as u64;
                let max = plan.route().body_bytes_max;
                if max.is_some_and(|max| trace.request_bytes > max) {
                    return Err(Kind::BodyTooLarge.into());
                }
                let data = &conn.input.filled()[..n];
                match plan.framing {
                    Framing::Chunked => put_chunk(&mut conn.out, data),
                    Framing::Length(_) | Framing::Close => conn.out.extend_from_slice(data),
                }
                conn.input.consume(n);
            }
            Piece::Framing(n) => {
                conn.input.consume(n);
                if conn.body.is_done() {
                    conn.out.extend_from_slice(LAST_CHUNK);
                }
            }
            Piece::More | Piece::End => return Ok(()),
        }
    }
}

/// Writes `conn.out` to the upstream; true when the upstream answered or closed meanwhile, so that
/// nothing more need be sent.
async fn send<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    upstream: &mut Upstream,
    sent: &mut Sent,
) -> Result<bool, Failure> {
    let mut rest = conn.out.as_slice();
    let (timer, buffers) = (&mut conn.timer, &conn.core.buffers);
    while !rest.is_empty() {
        let wrote = poll_fn(|cx| {
            match upstream.link.poll_write(cx, &[IoSlice::new(rest)]) {
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Ok(Some(n))),
                Poll::Ready(result) => {
                    return Poll::Ready(Err(Stop::Io(
                        result.err().unwrap_or(std::io::ErrorKind::WriteZero.into()),
                    )));
                }
                Poll::Pending => {}
            }
            let heard = poll_fill(
                &mut upstream.link,
                &mut upstream.input,
                &mut buffers.borrow_mut(),
                cx,
            );
            match heard {
                Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(Ok(None)),
                Poll::Ready(result) => Poll::Ready(Err(Stop::Io(
                    result
                        .err()
                        .unwrap_or(std::io::ErrorKind::UnexpectedEof.into()),
                ))),
                Poll::Pending => timer.poll(cx).map(|()| Err(Stop::Timeout)),
            }
        })
        .await;
        match wrote {
            Ok(Some(n)) => {
                sent.any = true;
                rest = &rest[n..];
            }
            Ok(None) => return Ok(true),
            Err(Stop::Timeout) => return Err(total_first(plan, Kind::IdleTimeout.into())),
            // What the upstream said before it closed may still be there: a 413, for example.
            Err(Stop::Io(_)) if sent.any => return Ok(true),
            Err(Stop::Io(e)) => return Err(Failure::because(Kind::ResetBeforeHead, e)),
        }
    }
    Ok(false)
}

/// What the relay of a body woke up for.
enum Heard {
    Client(usize),
    Upstream(usize),
}

/// Relays the rest of the request's body; true when the upstream answered before its end.
async fn stream_body<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    upstream: &mut Upstream,
    sent: &mut Sent,
) -> Result<bool, Failure> {
    let limits = conn.core.shared.limits.clone();
    let began = Instant::now();
    let mut scan = Scan::default();
    let mut waits_for_continue = plan.expects_continue;
    while !conn.body.is_done() {
        if conn.body.expected() > LARGE_FROM && conn.input.has_spare() {
            conn.core.buffers.borrow_mut().enlarge(&mut conn.input);
        }
        let wait = if waits_for_continue {
            limits.continue_wait
        } else {
            limits.body_idle
        };
        conn.timer.set_within(wait, plan.deadline);
        match hear(conn, upstream).await {
            Ok(Heard::Client(0)) => return Err(Failure::because(Kind::Gone, "closed in its body")),
            Ok(Heard::Client(_)) => {
                waits_for_continue = false;
                stage_body(conn, plan, trace)?;
                conn.timer
                    .set_within(plan.route().timeouts.idle, plan.deadline);
                let early = send(conn, plan, upstream, sent).await?;
                conn.out.clear();
                if early {
                    return Ok(true);
                }
            }
            Ok(Heard::Upstream(n)) => {
                let interim =
                    n > 0 && plan.expects_continue && forward::take_continue(upstream, &mut scan)?;
                if !interim {
                    return Ok(true);
                }
                waits_for_continue = false;
                say_continue(conn, plan, sent).await?;
                if !upstream.input.is_empty() {
                    return Ok(true);
                }
            }
            Err(Stop::Timeout) if waits_for_continue => {
                waits_for_continue = false;
                say_continue(conn, plan, sent).await?;
            }
            Err(Stop::Timeout) => return Err(total_first(plan, Kind::BodyTimeout.into())),
            Err(Stop::Io(e)) => return Err(Failure::because(Kind::Gone, e)),
        }
        let spent = began.elapsed();
        if spent > RATE_GRACE
            && trace.request_bytes < limits.body_rate_min.saturating_mul(spent.as_secs())
        {
            return Err(Kind::BodyTimeout.into());
        }
    }
    Ok(false)
}

/// Waits for either side; errors are the client's.
async fn hear<L: Link>(conn: &mut Conn<L>, upstream: &mut Upstream) -> Result<Heard, Stop> {
    let (timer, buffers) = (&mut conn.timer, &conn.core.buffers);
    poll_fn(|cx| {
        let buffers = &mut buffers.borrow_mut();
        let from_upstream = poll_fill(&mut upstream.link, &mut upstream.input, buffers, cx);
        if let Poll::Ready(result) = from_upstream {
            // A reset reads like an end; the head reader finds out what there was before it.
            return Poll::Ready(Ok(Heard::Upstream(result.unwrap_or(0))));
        }
        match poll_fill(&mut conn.link, &mut conn.input, buffers, cx) {
            Poll::Ready(Ok(n)) => Poll::Ready(Ok(Heard::Client(n))),
            Poll::Ready(Err(e)) => Poll::Ready(Err(Stop::Io(e))),
            Poll::Pending => timer.poll(cx).map(|()| Err(Stop::Timeout)),
        }
    })
    .await
}

/// Tells the client to send its body, once.
pub(super) async fn say_continue<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    sent: &mut Sent,
) -> Result<(), Failure> {
    if !plan.expects_continue || std::mem::replace(&mut sent.continued, true) {
        return Ok(());
    }
    conn.timer
        .set_within(conn.core.shared.limits.body_idle, plan.deadline);
    let text = b"HTTP/1.1 100 Continue\r\n\r\n";
    write_both(&mut conn.link, &mut conn.timer, text, &[])
        .await
        .map_err(|_| Kind::Gone.into())
}

/// Reads the final answer's head and writes it for the client to `conn.out`.
async fn read_head<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    upstream: &mut Upstream,
    sent: &mut Sent,
    early: bool,
) -> Result<Answer, Failure> {
    let head_bytes_max = conn.core.shared.limits.head_bytes_max;
    let mut scan = Scan::default();
    let mut interims = 0;
    conn.timer
        .set_within(plan.route().timeouts.head, plan.deadline);
    loop {
        let end = scan
            .feed(upstream.input.filled())
            .map_err(|_| Kind::BadResponse)?;
        match end {
            Some(head) if head.end > head_bytes_max => {
                return Err(Kind::UpstreamHeadTooLarge.into());
            }
            Some(head) => {
                if let Some(answer) = forward::answer(conn, plan, upstream, head, early)? {
                    return Ok(answer);
                }
                interims += 1;
                if interims > INTERIM_MAX {
                    return Err(Failure::because(
                        Kind::BadResponse,
                        "too many interim answers",
                    ));
                }
                scan = Scan::default();
                say_continue(conn, plan, sent).await?;
                conn.timer
                    .set_within(plan.route().timeouts.head, plan.deadline);
                continue;
            }
            None if upstream.input.filled().len() >= head_bytes_max => {
                return Err(Kind::UpstreamHeadTooLarge.into());
            }
            None => {}
        }
        if !upstream.input.is_empty() && !upstream.input.has_spare() {
            upstream.input.grow(head_bytes_max);
        }
        let begun = !upstream.input.is_empty();
        match from_upstream(conn, upstream).await {
            Ok(n) if n > 0 => {}
            Ok(_) if begun => {
                return Err(Failure::because(Kind::BadResponse, "closed in its head"));
            }
            Ok(_) => return Err(Kind::ResetBeforeHead.into()),
            Err(Woken::Gone(why)) => return Err(Failure::because(Kind::Gone, why)),
            Err(Woken::Upstream(Stop::Timeout)) => {
                return Err(total_first(plan, Kind::UpstreamHeadTimeout.into()));
            }
            Err(Woken::Upstream(Stop::Io(e))) if begun => {
                return Err(Failure::because(Kind::BadResponse, e));
            }
            Err(Woken::Upstream(Stop::Io(e))) => {
                return Err(Failure::because(Kind::ResetBeforeHead, e));
            }
        }
    }
}

/// Why waiting for the upstream ended without bytes.
pub(super) enum Woken {
    Upstream(Stop),
    Gone(&'static str),
}

/// Reads more of the upstream's bytes; 0 is its end. Watches the client meanwhile: when it leaves,
/// the upstream's work is for nobody. What a client sends ahead is kept, up to one buffer.
pub(super) async fn from_upstream<L: Link>(
    conn: &mut Conn<L>,
    upstream: &mut Upstream,
) -> Result<usize, Woken> {
    poll_fn(|cx| poll_upstream(conn, upstream, cx)).await
}

/// What [`from_upstream`] does, for who does more in one wait.
pub(super) fn poll_upstream<L: Link>(
    conn: &mut Conn<L>,
    upstream: &mut Upstream,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Woken>> {
    let buffers = &mut conn.core.buffers.borrow_mut();
    match poll_fill(&mut upstream.link, &mut upstream.input, buffers, cx) {
        Poll::Ready(Ok(n)) => return Poll::Ready(Ok(n)),
        Poll::Ready(Err(e)) => return Poll::Ready(Err(Woken::Upstream(Stop::Io(e)))),
        Poll::Pending => {}
    }
    while conn.input.is_empty() || conn.input.has_spare() {
        match poll_fill(&mut conn.link, &mut conn.input, buffers, cx) {
            Poll::Ready(Ok(n)) if n > 0 => {}
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(Woken::Gone("closed"))),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Woken::Gone("reset"))),
            Poll::Pending => break,
        }
    }
    let timeout = conn.timer.poll(cx);
    timeout.map(|()| Err(Woken::Upstream(Stop::Timeout)))
}

/// Sets the idle deadline of a body.
pub(super) fn idle<L>(conn: &mut Conn<L>, plan: &Plan, after: Duration) {
    conn.timer.set_within(after, plan.deadline);
}
