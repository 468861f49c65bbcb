//! Reads the whole body of a request.

use tokio::time::Instant;

use crate::conn::Conn;
use crate::conn::exchange::{LARGE_FROM, Sent, say_continue};
use crate::conn::plan::Plan;
use crate::failure::{Failure, Kind};
use crate::h1::body::{Framing, Piece};
use crate::io::{Link, Stop};
use crate::settings::RATE_GRACE;
use crate::trace::Trace;

/// Largest body of an AI route that does not say otherwise.
const BODY_BYTES_MAX: u64 = 32 << 20;
/// Room taken for a body before it is here.
const FIRST_BYTES_MAX: u64 = 64 * 1024;

/// The body of the current request, at most as large as the route allows.
pub(super) async fn read<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
) -> Result<Vec<u8>, Failure> {
    let max = plan.route().body_bytes_max.unwrap_or(BODY_BYTES_MAX);
    let declared = match plan.framing {
        Framing::Length(length) if length > max => return Err(Kind::BodyTooLarge.into()),
        Framing::Length(length) => length.min(FIRST_BYTES_MAX),
        Framing::Chunked | Framing::Close => 0,
    };
    let mut body = conn.core.take_out();
    body.reserve(usize::try_from(declared).unwrap_or(0));
    let began = Instant::now();
    let limits = conn.core.shared.limits.clone();
    let mut sent = Sent::default();
    loop {
        let piece = conn.body.next(conn.input.filled());
        match piece.map_err(|_| Kind::BadFraming)? {
            Piece::Data(n) => {
                trace.request_bytes += n as u64;
                if trace.request_bytes > max {
                    return Err(Kind::BodyTooLarge.into());
                }
                body.extend_from_slice(&conn.input.filled()[..n]);
                conn.input.consume(n);
            }
            Piece::Framing(n) => conn.input.consume(n),
            Piece::End => return Ok(body),
            Piece::More => {
                say_continue(conn, plan, &mut sent).await?;
                if conn.body.expected() > LARGE_FROM && conn.input.has_spare() {
                    conn.core.buffers.borrow_mut().enlarge(&mut conn.input);
                }
                conn.timer.set_within(limits.body_idle, plan.deadline);
                match conn.fill().await {
                    Ok(0) => return Err(Failure::because(Kind::Gone, "closed in its body")),
                    Ok(_) => {}
                    Err(Stop::Timeout) => return Err(Kind::BodyTimeout.into()),
                    Err(Stop::Io(e)) => return Err(Failure::because(Kind::Gone, e)),
                }
                let spent = began.elapsed();
                let least = limits.body_rate_min.saturating_mul(spent.as_secs());
                if spent > RATE_GRACE && trace.request_bytes < least {
                    return Err(Kind::BodyTimeout.into());
                }
            }
        }
    }
}
