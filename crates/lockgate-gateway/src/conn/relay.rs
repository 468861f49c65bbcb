//! Relays the answer's body, and makes every cut visible to the client.

use super::exchange::{LARGE_FROM, Woken, from_upstream, idle};
use super::forward::Answer;
use super::plan::{Plan, put_field};
use super::{Conn, Outcome};
use crate::failure::{Failure, Kind, error_event};
use crate::h1::body::Piece;
use crate::h1::write::{LAST_CHUNK, put_chunk};
use crate::io::{Link, Stop, write_both};
use crate::trace::Trace;
use crate::upstream::Upstream;
use tokio::time::Instant;

/// Once `conn.out` holds this much it is written, even if more is at hand.
const FLUSH_BYTES: usize = 128 * 1024;
/// Head and body up to this size are copied together: one plain send costs less than a gathered
/// one.
const COPY_BYTES: usize = 8 * 1024;

/// Sends the head in `conn.out` and the body, then gives the upstream's connection back.
pub(crate) async fn relay<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    mut upstream: Upstream,
    mut answer: Answer,
) -> Outcome {
    trace.status = answer.status;
    put_field(&mut conn.out, b"x-request-id", &trace.id);
    conn.out.extend_from_slice(b"\r\n");
    let mut begun = false;
    let ended = body(conn, plan, trace, &mut upstream, &mut answer, &mut begun).await;
    match ended {
        Ok(()) => {
            let left_over = !upstream.input.is_empty();
            if answer.keep_upstream && !left_over && conn.body.is_done() {
                upstream.release(&conn.core);
            } else {
                conn.core.buffers.borrow_mut().give(upstream.input);
            }
            Outcome::Done {
                keep: answer.keep_client && conn.body.is_done(),
            }
        }
        Err(failure) if !begun => {
            trace.response_bytes = 0;
            Outcome::Refuse(failure)
        }
        Err(failure) => {
            if failure.kind != Kind::Gone {
                show_cut(conn, plan, trace, &answer, failure.kind).await;
            }
            Outcome::Cut(failure)
        }
    }
}

async fn body<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    upstream: &mut Upstream,
    answer: &mut Answer,
    begun: &mut bool,
) -> Result<(), Failure> {
    loop {
        let piece = answer
            .body
            .next(upstream.input.filled())
            .map_err(|_| Failure::because(Kind::BadResponse, "its chunked coding is broken"))?;
        match piece {
            Piece::Data(n) => {
                trace.response_bytes += n as u64;
                let data = &upstream.input.filled()[..n];
                if answer.chunked_out {
                    put_chunk(&mut conn.out, data);
                } else if conn.out.len() + n <= COPY_BYTES {
                    conn.out.extend_from_slice(data);
                } else {
                    write(conn, plan, trace, data, begun).await?;
                }
                upstream.input.consume(n);
                if conn.out.len() >= FLUSH_BYTES {
                    flush(conn, plan, trace, begun).await?;
                }
            }
            Piece::Framing(n) => upstream.input.consume(n),
            Piece::End => {
                if answer.chunked_out {
                    conn.out.extend_from_slice(LAST_CHUNK);
                }
                return flush(conn, plan, trace, begun).await;
            }
            Piece::More => {
                // The head waits for the first bytes of the body only if they are here already.
                flush(conn, plan, trace, begun).await?;
                if answer.body.expected() > LARGE_FROM && upstream.input.has_spare() {
                    conn.core.buffers.borrow_mut().enlarge(&mut upstream.input);
                }
                idle(conn, plan, plan.route().timeouts.idle);
                match from_upstream(conn, upstream).await {
                    Ok(0) if answer.body.ends_on_close() => {
                        if answer.chunked_out {
                            conn.out.extend_from_slice(LAST_CHUNK);
                        }
                        return flush(conn, plan, trace, begun).await;
                    }
                    Ok(0) => return Err(Kind::Truncated.into()),
                    Ok(_) => {}
                    Err(Woken::Gone(why)) => return Err(Failure::because(Kind::Gone, why)),
                    Err(Woken::Upstream(Stop::Io(e))) => {
                        return Err(Failure::because(Kind::Truncated, e));
                    }
                    Err(Woken::Upstream(Stop::Timeout)) => {
                        let total = plan.deadline.is_some_and(|d| Instant::now() >= d);
                        return Err(if total {
                            Kind::Timeout
                        } else {
                            Kind::IdleTimeout
                        }
                        .into());
                    }
                }
            }
        }
    }
}

async fn flush<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    begun: &mut bool,
) -> Result<(), Failure> {
    if conn.out.is_empty() {
        return Ok(());
    }
    write(conn, plan, trace, &[], begun).await
}

/// Writes `conn.out` and `data` to the client.
async fn write<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    data: &[u8],
    begun: &mut bool,
) -> Result<(), Failure> {
    idle(conn, plan, plan.route().timeouts.idle);
    let sent = write_both(&mut conn.link, &mut conn.timer, &conn.out, data).await;
    conn.out.clear();
    if !std::mem::replace(begun, true) {
        let now = conn.core.shared.clock.monotonic();
        trace.first_byte = now.saturating_sub(trace.started);
    }
    sent.map_err(|stop| match stop {
        Stop::Io(e) => Failure::because(Kind::Gone, e),
        Stop::Timeout => Failure::because(Kind::Gone, "stopped reading"),
    })
}

/// A cut must not look like an end: a counted body stays short, a chunked one gets no last chunk,
/// an event stream gets one error event, and what ends by the close is reset.
async fn show_cut<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &Trace,
    answer: &Answer,
    kind: Kind,
) {
    if answer.close_delimited_out {
        conn.link.reset_on_close();
    } else if answer.events && answer.chunked_out {
        let mut event = Vec::new();
        error_event(kind, trace.id(), &mut event);
        conn.out.clear();
        put_chunk(&mut conn.out, &event);
        idle(conn, plan, conn.core.shared.limits.body_idle);
        // The client may be gone; the close that follows says the same.
        let _ = write_both(&mut conn.link, &mut conn.timer, &conn.out, &[]).await;
    }
}
