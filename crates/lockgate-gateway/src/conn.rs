//! A client connection: reads heads, answers them one at a time, in order.

pub(crate) mod ai;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod plan;
pub(crate) mod relay;

use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::buffer::{Buffer, Buffers};
use crate::core::Core;
use crate::failure::{Answering, Failure, Kind, respond};
use crate::h1::body::{Body, Framing, Piece};
use crate::h1::head::Scan;
use crate::io::{Link, Stop, Timer, within, write_both};
use crate::trace::Trace;
use plan::Facts;

/// Most bytes that are read and dropped so that a client can read our refusal.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Longest time for that.
const LINGER: Duration = Duration::from_secs(2);

/// One client connection.
pub(crate) struct Conn<L> {
    pub(crate) core: Rc<Core>,
    pub(crate) link: L,
    pub(crate) timer: Timer,
    /// Bytes of the client that were not used yet.
    pub(crate) input: Buffer,
    /// What is written next: the request head to the upstream, then the answer to the client.
    pub(crate) out: Vec<u8>,
    /// How far the body of the current request was read.
    pub(crate) body: Body,
    client: IpAddr,
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Next,
    /// Everything was said and heard.
    Close,
    /// The client may still be sending; give it a chance to read the answer.
    Linger,
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer was relayed whole. `keep` when the client's connection may be used again.
    Done { keep: bool },
    /// Nothing was sent to the client yet.
    Refuse(Failure),
    /// The answer had begun; the client must see that it is not whole.
    Cut(Failure),
}

/// Serves a connection until it ends.
pub(crate) async fn serve<L: Link>(core: Rc<Core>, link: L, client: IpAddr) {
    let idle = core.shared.limits.keep_alive_idle;
    let mut conn = Conn {
        link,
        timer: Timer::new(idle),
        input: Buffer::default(),
        out: Vec::new(),
        body: Body::new(Framing::Length(0)),
        client,
        core,
    };
    loop {
        let after = match conn.next_head().await {
            Ok(Some(head)) => conn.answer(Ok(head)).await,
            Ok(None) => After::Close,
            Err(failure) => conn.answer(Err(failure)).await,
        };
        match after {
            After::Next => {}
            After::Close => break,
            After::Linger => {
                conn.linger().await;
                break;
            }
        }
    }
    conn.rest();
}

impl<L: Link> Conn<L> {
    /// Gives the buffers back while nothing is under way.
    fn rest(&mut self) {
        if self.input.is_empty() {
            let input = std::mem::take(&mut self.input);
            self.core.buffers.borrow_mut().give(input);
        }
        self.core.give_out(std::mem::take(&mut self.out));
    }

    /// Reads until a whole head is there; `None` when the client is done.
    async fn next_head(&mut self) -> Result<Option<std::ops::Range<usize>>, Failure> {
        self.rest();
        let limits = &self.core.shared.limits;
        let (idle, head_timeout, head_bytes_max) = (
            limits.keep_alive_idle,
            limits.head_timeout,
            limits.head_bytes_max,
        );
        let mut scan = Scan::default();
        let mut begun = !self.input.is_empty();
        self.timer
            .set_within(if begun { head_timeout } else { idle }, None);
        loop {
            match scan.feed(self.input.filled()) {
                Err(_) => return Err(Kind::BadFraming.into()),
                Ok(Some(head)) if head.end <= head_bytes_max => return Ok(Some(head)),
                Ok(Some(_)) => return Err(Kind::HeadTooLarge.into()),
                Ok(None) if self.input.filled().len() >= head_bytes_max => {
                    return Err(Kind::HeadTooLarge.into());
                }
                Ok(None) => {}
            }
            if !self.input.is_empty() && !self.input.has_spare() {
                self.input.grow(head_bytes_max);
            }
            match self.fill().await {
                Ok(0) if begun => return Err(Failure::because(Kind::Gone, "closed in its head")),
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(Stop::Timeout) if begun => return Err(Kind::HeadTimeout.into()),
                Err(_) if !begun => return Ok(None),
                Err(Stop::Timeout) => return Ok(None),
                Err(Stop::Io(e)) => return Err(Failure::because(Kind::Gone, e)),
            }
            if !begun {
                begun = true;
                self.timer.set_within(head_timeout, None);
            }
        }
    }

    /// Reads more of the client's bytes before the timer's deadline; 0 is the end.
    pub(crate) async fn fill(&mut self) -> Result<usize, Stop> {
        let buffers = &self.core.buffers;
        within(&mut self.timer, |cx| {
            poll_fill(
                &mut self.link,
                &mut self.input,
                &mut buffers.borrow_mut(),
                cx,
            )
        })
        .await
    }

    /// Answers one request, whole or refused, and leaves its trace.
    async fn answer(&mut self, head: Result<std::ops::Range<usize>, Failure>) -> After {
        let core = Rc::clone(&self.core);
        let clock = &core.shared.clock;
        let at = clock.now();
        let mut trace = Trace::new(core.next_id(at), at, clock.monotonic(), self.client);
        let mut facts = Facts::default();
        if self.out.capacity() == 0 {
            self.out = core.take_out();
        }
        self.out.clear();
        let planned = head.and_then(|head| {
            let bytes = &self.input.filled()[head.clone()];
            let planned = plan::plan(&core, bytes, &mut facts, &mut trace, &mut self.out);
            self.input.consume(head.end);
            planned
        });
        self.body = Body::new(facts.framing.unwrap_or(Framing::Length(0)));
        let route = planned.as_ref().ok().map(|plan| Rc::clone(&plan.table));
        let outcome = match &planned {
            Ok(plan) => exchange::exchange(self, plan, &mut trace).await,
            Err(failure) => Outcome::Refuse(failure.clone()),
        };
        let after = match outcome {
            Outcome::Done { keep: true } => After::Next,
            Outcome::Done { keep: false } if self.body.is_done() => After::Close,
            Outcome::Done { keep: false } => After::Linger,
            Outcome::Refuse(failure) => self.refuse(failure, &facts, &mut trace).await,
            Outcome::Cut(failure) => {
                if failure.kind == Kind::Gone {
                    trace.status = failure.kind.status();
                }
                trace.failure = Some(failure);
                After::Close
            }
        };
        trace.total = clock.monotonic().saturating_sub(trace.started);
        if let (Some(table), Ok(plan)) = (route, &planned) {
            table.routes[plan.route as usize]
                .stats
                .count(core.number, trace.status);
        }
        core.finish(trace);
        after
    }

    /// Sends the answer of a failure. The connection goes on only if the request's end is known
    /// and its body is here already.
    async fn refuse(&mut self, failure: Failure, facts: &Facts, trace: &mut Trace) -> After {
        trace.status = failure.kind.status();
        if failure.kind == Kind::Gone {
            trace.failure = Some(failure);
            return After::Close;
        }
        let whole = facts.framing.is_some() && self.skip_body();
        let keep = whole && facts.keep_alive && !self.core.is_draining();
        let to = Answering {
            request_id: trace.id(),
            date: &self.core.date(trace.at),
            head_only: facts.head_only,
            close: !keep,
            form: facts.form,
        };
        self.out.clear();
        respond(&failure, to, &mut self.out);
        trace.failure = Some(failure);
        self.timer
            .set_within(self.core.shared.limits.body_idle, None);
        let sent = write_both(&mut self.link, &mut self.timer, &self.out, &[]).await;
        trace.first_byte = self
            .core
            .shared
            .clock
            .monotonic()
            .saturating_sub(trace.started);
        match sent {
            Err(_) => After::Close,
            Ok(()) if keep => After::Next,
            Ok(()) => After::Linger,
        }
    }

    /// Drops what is here of the request's body; whether that was all of it.
    fn skip_body(&mut self) -> bool {
        loop {
            match self.body.next(self.input.filled()) {
                Ok(Piece::Data(n) | Piece::Framing(n)) => self.input.consume(n),
                Ok(Piece::End) => return true,
                Ok(Piece::More) | Err(_) => return false,
            }
        }
    }

    /// Half-closes, then reads and drops a bounded amount: closing with unread bytes would reset
    /// the connection and could take our answer with it.
    async fn linger(&mut self) {
        self.timer.set(Instant::now() + LINGER);
        let link = &mut self.link;
        if within(&mut self.timer, |cx| link.poll_half_close(cx))
            .await
            .is_err()
        {
            return;
        }
        let mut dropped = self.input.filled().len();
        while dropped < LINGER_BYTES_MAX {
            let waiting = self.input.filled().len();
            self.input.consume(waiting);
            match self.fill().await {
                Ok(n) if n > 0 => dropped += n,
                _ => return,
            }
        }
    }
}

/// Reads into `buffer`, taking one from the core only when bytes are there.
pub(crate) fn poll_fill<L: Link>(
    link: &mut L,
    buffer: &mut Buffer,
    buffers: &mut Buffers,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    if !buffer.has_spare() {
        if !buffer.is_empty() {
            debug_assert!(false, "the caller makes room before it asks for more");
            return Poll::Ready(Err(std::io::ErrorKind::OutOfMemory.into()));
        }
        match link.poll_readable(cx) {
            Poll::Ready(Ok(())) => *buffer = buffers.take(),
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return Poll::Pending,
        }
    }
    match link.poll_read(cx, buffer.spare()) {
        Poll::Ready(Ok(n)) => {
            buffer.commit(n);
            Poll::Ready(Ok(n))
        }
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Pending => {
            if buffer.is_empty() {
                buffers.give(std::mem::take(buffer));
            }
            Poll::Pending
        }
    }
}
