//! Relays a vendor's answer, and settles the call before the client sees the end of it.

use std::future::poll_fn;
use std::task::Poll;

use lockgate_diag::Secret;
use lockgate_llm::{EventStream, check_answer, parse_usage};
use lockgate_model::ai::{CallStatus, Usage};
use tokio::time::Instant;

use super::call::Call;
use crate::conn::exchange::{LARGE_FROM, Woken, from_upstream, idle, poll_upstream};
use crate::conn::forward::Answer;
use crate::conn::plan::{Plan, put_field};
use crate::conn::{Conn, Outcome};
use crate::failure::{Failure, Kind, openai_error_event};
use crate::h1::body::Piece;
use crate::h1::write::{LAST_CHUNK, put_chunk};
use crate::io::{Link, Stop, poll_write_both, write_both};
use crate::trace::Trace;
use crate::upstream::Upstream;

/// A whole answer up to this size is held, so that one that is broken can still be refused.
const HELD_BYTES_MAX: usize = 256 * 1024;
/// The end of a larger answer, in which its tokens are looked for.
const END_BYTES: usize = 4 * 1024;

/// One answer on its way.
pub(super) struct Relay<'p> {
    plan: &'p Plan,
    call: Call,
    upstream: Upstream,
    answer: Answer,
    key: Option<&'p Secret<String>>,
    /// The client did not ask for the tokens of a stream: it must not see them.
    hide_usage: bool,
    /// The client has got bytes.
    begun: bool,
}

/// What was read of the answer.
enum Read {
    /// So many bytes of data, first in the upstream's buffer.
    Data(usize),
    /// Nothing more is here now.
    Wait,
    End,
}

impl<'p> Relay<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        mut call: Call,
        upstream: Upstream,
        answer: Answer,
        key: Option<&'p Secret<String>>,
        hide_usage: bool,
    ) -> Self {
        call.http_status = Some(answer.status);
        Self {
            plan,
            call,
            upstream,
            answer,
            key,
            hide_usage,
            begun: false,
        }
    }

    /// Relays to the end. An error means that the client has got nothing yet.
    pub(super) async fn run<L: Link>(
        mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<Outcome, Failure> {
        trace.status = self.answer.status;
        put_field(&mut conn.out, b"x-request-id", &trace.id);
        conn.out.extend_from_slice(b"\r\n");
        let good = (200..300).contains(&self.answer.status);
        if good && self.answer.events {
            return self.stream(conn, trace).await;
        }
        let ended = if good {
            self.whole(conn, trace).await
        } else {
            self.refusal(conn, trace).await
        };
        match ended {
            Ok(()) => Ok(self.done(conn)),
            Err(failure) => {
                self.call.cut(&failure, None)?;
                self.end_badly(conn, failure)
            }
        }
    }

    /// Gives the vendor's connection back, if all of it was read.
    fn done<L>(self, conn: &mut Conn<L>) -> Outcome {
        let left_over = !self.upstream.input.is_empty();
        if self.answer.keep_upstream && !left_over {
            self.upstream.release(&conn.core);
        } else {
            conn.core.buffers.borrow_mut().give(self.upstream.input);
        }
        Outcome::Done {
            keep: self.answer.keep_client,
        }
    }

    /// The client must not take what it got for the whole.
    fn end_badly<L: Link>(&self, conn: &mut Conn<L>, failure: Failure) -> Result<Outcome, Failure> {
        if !self.begun {
            return Err(failure);
        }
        if self.answer.close_delimited_out {
            conn.link.reset_on_close();
        }
        Ok(Outcome::Cut(failure))
    }

    /// An answer that is no stream.
    async fn whole<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        let mut held = conn.core.take_out();
        let mut streams = false;
        loop {
            match self.read()? {
                Read::Data(n) => {
                    held.extend_from_slice(&self.upstream.input.filled()[..n]);
                    self.upstream.input.consume(n);
                }
                Read::Wait => {
                    if held.len() > HELD_BYTES_MAX {
                        // Keeps the end back: it tells the tokens, and goes after they are safe.
                        streams = true;
                        let end = held.split_off(held.len() - END_BYTES);
                        self.put(conn, trace, &held);
                        self.flush(conn, trace).await?;
                        held = end;
                    }
                    self.wait(conn).await?;
                }
                Read::End => break,
            }
        }
        let usage = if streams {
            usage_in(&held)
        } else {
            check_answer(&held).map_err(|fault| {
                // The call was made and its answer is worthless: nothing was written.
                let _ = self.call.refused(None);
                Failure::because(Kind::BadAnswer, fault)
            })?
        };
        self.call.settle(CallStatus::Ok, usage)?;
        self.put(conn, trace, &held);
        conn.core.give_out(held);
        self.finish(conn, trace).await
    }

    /// An answer that is no success. One that speaks of our key becomes ours.
    async fn refusal<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        let mut held = Vec::new();
        loop {
            match self.read()? {
                Read::Data(n) => {
                    held.extend_from_slice(&self.upstream.input.filled()[..n]);
                    self.upstream.input.consume(n);
                }
                Read::Wait if held.len() > HELD_BYTES_MAX => {
                    self.call.refused(None)?;
                    return Err(Failure::because(Kind::BadAnswer, "its error is too large"));
                }
                Read::Wait => self.wait(conn).await?,
                Read::End => break,
            }
        }
        self.call.refused(None)?;
        match self.answer.status {
            401..=403 => return Err(Kind::VendorKeyRefused.into()),
            300..=399 => return Err(Failure::because(Kind::BadAnswer, "a redirect")),
            _ => {}
        }
        let quoted = self
            .key
            .is_some_and(|key| memchr::memmem::find(&held, key.expose().as_bytes()).is_some());
        if quoted {
            return Err(Failure::because(
                Kind::BadAnswer,
                "its error quotes our key",
            ));
        }
        self.put(conn, trace, &held);
        self.finish(conn, trace).await
    }

    /// An event stream. Whole events only, so that an error can be said after any of them.
    async fn stream<L: Link>(
        mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<Outcome, Failure> {
        // What is counted must keep its length.
        let counted = !self.answer.chunked_out && !self.answer.close_delimited_out;
        let mut events = EventStream::new(self.hide_usage && !counted);
        match self.events(conn, trace, &mut events).await {
            Ok(()) => Ok(self.done(conn)),
            Err(failure) => {
                let seen = events.seen();
                self.call.note(seen.output_chunks);
                self.call.cut(&failure, seen.usage)?;
                let tell = self.begun
                    && failure.kind != Kind::Gone
                    && self.answer.chunked_out
                    && !events.is_mid_event();
                if tell {
                    let mut event = Vec::new();
                    openai_error_event(&failure, &mut event);
                    conn.out.clear();
                    put_chunk(&mut conn.out, &event);
                    idle(conn, self.plan, conn.core.shared.limits.body_idle);
                    // The client may be gone; the close that follows says the same.
                    let _ = write_both(&mut conn.link, &mut conn.timer, &conn.out, &[]).await;
                }
                self.end_badly(conn, failure)
            }
        }
    }

    async fn events<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
        events: &mut EventStream,
    ) -> Result<(), Failure> {
        let mut ready = Vec::new();
        loop {
            match self.read()? {
                Read::Data(n) => {
                    if ready.capacity() == 0 {
                        ready = conn.core.take_out();
                    }
                    events.push(&self.upstream.input.filled()[..n], &mut ready);
                    self.upstream.input.consume(n);
                }
                Read::Wait => {
                    if self.prepare(conn, trace, events, &mut ready)? {
                        self.turn(conn, trace).await?;
                    } else {
                        self.wait(conn).await?;
                    }
                }
                Read::End => break,
            }
        }
        let seen = events.seen();
        if !seen.done && !seen.failed {
            if self.prepare(conn, trace, events, &mut ready)? {
                self.flush(conn, trace).await?;
            }
            return Err(Failure::because(Kind::Truncated, "its stream has no end"));
        }
        self.record(events)?;
        self.put(conn, trace, &ready);
        conn.core.give_out(ready);
        self.finish(conn, trace).await
    }

    /// Makes whole events ready to be written, if there are any; the head of the answer goes with
    /// the first of them.
    fn prepare<L>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
        events: &EventStream,
        ready: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        if ready.is_empty() {
            return Ok(false);
        }
        self.record(events)?;
        self.put(conn, trace, ready);
        conn.core.give_out(std::mem::take(ready));
        Ok(true)
    }

    /// Records what a stream has told so far, before it is passed on: its end, or how far it is.
    fn record(&mut self, events: &EventStream) -> Result<(), Failure> {
        let seen = events.seen();
        if seen.failed || seen.done {
            self.call.note(seen.output_chunks);
        }
        if seen.failed {
            self.call.settle(CallStatus::VendorError, seen.usage)
        } else if seen.done {
            self.call.settle(CallStatus::Ok, seen.usage)
        } else {
            self.call.progress(seen.output_chunks);
            Ok(())
        }
    }

    /// Looks at what is here of the answer.
    fn read(&mut self) -> Result<Read, Failure> {
        loop {
            let piece = self.answer.body.next(self.upstream.input.filled());
            let piece = piece
                .map_err(|_| Failure::because(Kind::BadResponse, "its chunked coding is broken"))?;
            match piece {
                Piece::Data(n) => return Ok(Read::Data(n)),
                Piece::Framing(n) => self.upstream.input.consume(n),
                Piece::More => return Ok(Read::Wait),
                Piece::End => return Ok(Read::End),
            }
        }
    }

    /// Waits for more of the answer, and watches the client meanwhile.
    async fn wait<L: Link>(&mut self, conn: &mut Conn<L>) -> Result<(), Failure> {
        self.make_room(conn);
        idle(conn, self.plan, self.plan.route().timeouts.idle);
        let heard = from_upstream(conn, &mut self.upstream).await;
        self.heard(heard)
    }

    /// Writes what is prepared, then waits for more of the answer: in one wait, because a stream
    /// comes here with every event. While it waits it holds no buffer, so that all streams of a core
    /// write through the same warm ones.
    async fn turn<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        self.make_room(conn);
        let time = self.plan.route().timeouts.idle;
        idle(conn, self.plan, time);
        let mut written = 0;
        let mut waited = false;
        let heard = poll_fn(|cx| {
            if !conn.out.is_empty() {
                let (link, timer) = (&mut conn.link, &mut conn.timer);
                let sent = poll_write_both(link, timer, [&conn.out, &[]], &mut written, cx);
                let Poll::Ready(sent) = sent else {
                    waited = true;
                    return Poll::Pending;
                };
                conn.core.give_out(std::mem::take(&mut conn.out));
                self.begin(conn, trace);
                if let Err(stop) = sent {
                    return Poll::Ready(Err(stopped(stop)));
                }
                if waited {
                    idle(conn, self.plan, time);
                }
            }
            poll_upstream(conn, &mut self.upstream, cx).map(Ok)
        })
        .await;
        self.heard(heard?)
    }

    /// A large answer is read in large pieces.
    fn make_room<L>(&mut self, conn: &mut Conn<L>) {
        if self.answer.body.expected() > LARGE_FROM && self.upstream.input.has_spare() {
            let mut buffers = conn.core.buffers.borrow_mut();
            buffers.enlarge(&mut self.upstream.input);
        }
    }

    /// What a wait for the answer means.
    fn heard(&mut self, heard: Result<usize, Woken>) -> Result<(), Failure> {
        match heard {
            Ok(0) if self.answer.body.ends_on_close() => {
                self.answer.body.close();
                Ok(())
            }
            Ok(0) => Err(Kind::Truncated.into()),
            Ok(_) => Ok(()),
            Err(Woken::Gone(why)) => Err(Failure::because(Kind::Gone, why)),
            Err(Woken::Upstream(Stop::Io(e))) => Err(Failure::because(Kind::Truncated, e)),
            Err(Woken::Upstream(Stop::Timeout)) => {
                let total = self.plan.deadline.is_some_and(|d| Instant::now() >= d);
                Err(if total {
                    Kind::Timeout
                } else {
                    Kind::IdleTimeout
                }
                .into())
            }
        }
    }

    /// The client has got bytes of the answer.
    fn begin<L>(&mut self, conn: &Conn<L>, trace: &mut Trace) {
        if !std::mem::replace(&mut self.begun, true) {
            let now = conn.core.shared.clock.monotonic();
            trace.first_byte = now.saturating_sub(trace.started);
        }
    }

    /// Appends data of the answer to what is written next.
    fn put<L>(&self, conn: &mut Conn<L>, trace: &mut Trace, data: &[u8]) {
        trace.response_bytes += data.len() as u64;
        if conn.out.capacity() == 0 {
            conn.out = conn.core.take_out();
        }
        if self.answer.chunked_out {
            put_chunk(&mut conn.out, data);
        } else {
            conn.out.extend_from_slice(data);
        }
    }

    /// Writes the last of the answer.
    async fn finish<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        if self.answer.chunked_out {
            conn.out.extend_from_slice(LAST_CHUNK);
        }
        self.flush(conn, trace).await
    }

    async fn flush<L: Link>(
        &mut self,
        conn: &mut Conn<L>,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        idle(conn, self.plan, self.plan.route().timeouts.idle);
        let sent = write_both(&mut conn.link, &mut conn.timer, &conn.out, &[]).await;
        conn.out.clear();
        self.begin(conn, trace);
        sent.map_err(stopped)
    }
}

/// A client that took not all of the answer.
fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Io(e) => Failure::because(Kind::Gone, e),
        Stop::Timeout => Failure::because(Kind::Gone, "stopped reading"),
    }
}

/// The tokens in the end of a large answer. The raw pattern cannot stand inside a JSON string:
/// there its quotes would be escaped.
fn usage_in(end: &[u8]) -> Option<Usage> {
    let name = b"\"usage\"";
    let at = memchr::memmem::rfind(end, name)?;
    let value = end[at + name.len()..]
        .trim_ascii_start()
        .strip_prefix(b":")?;
    let text = std::str::from_utf8(value).ok()?;
    let raw: &serde_json::value::RawValue = serde_json::Deserializer::from_str(text)
        .into_iter()
        .next()?
        .ok()?;
    parse_usage(raw.get())
}
