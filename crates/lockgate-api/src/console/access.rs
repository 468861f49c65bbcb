//! Who may see the console: one-time links, and the sessions they open. Both live in memory only
//! and as hashes only, so neither a copy of the node's files nor a restart gives a session away.

use std::collections::VecDeque;
use std::time::Duration;

use lockgate_model::Rng;
use sha2::{Digest as _, Sha256};

/// Time a link may be opened: enough to click it, too short to be found in a shell's history.
pub(super) const LINK_LIFE: Duration = Duration::from_secs(60);
/// Time a session lives at most.
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Time a session lives without a request; an open page asks every few seconds.
const SESSION_IDLE: Duration = Duration::from_secs(8 * 3600);
/// Most unopened links; a newer one ends the oldest.
const LINKS_MAX: usize = 16;
/// Most sessions; a newer one ends the oldest.
const SESSIONS_MAX: usize = 64;

/// What opens a link or a session. The text leaves the node once and is not kept.
pub(super) struct Ticket(String);

impl Ticket {
    pub(super) fn new(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        Self(hex::encode(bytes))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

type Hash = [u8; 32];

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

struct Link {
    hash: Hash,
    until: Duration,
}

struct Session {
    hash: Hash,
    until: Duration,
    idle_until: Duration,
}

/// Links and sessions, oldest first. Times are the clock's monotonic ones.
#[derive(Default)]
pub(super) struct Access {
    links: VecDeque<Link>,
    sessions: VecDeque<Session>,
}

impl Access {
    /// Makes `ticket` a link.
    pub(super) fn add_link(&mut self, ticket: &Ticket, now: Duration) {
        self.forget_old(now);
        make_room(&mut self.links, LINKS_MAX);
        self.links.push_back(Link {
            hash: hash(ticket.text()),
            until: now + LINK_LIFE,
        });
    }

    /// Uses a link up; true when it was one and is young enough.
    pub(super) fn take_link(&mut self, text: &str, now: Duration) -> bool {
        self.forget_old(now);
        let wanted = hash(text);
        let held = self.links.len();
        self.links.retain(|link| link.hash != wanted);
        self.links.len() < held
    }

    /// Makes `ticket` a session.
    pub(super) fn add_session(&mut self, ticket: &Ticket, now: Duration) {
        self.forget_old(now);
        make_room(&mut self.sessions, SESSIONS_MAX);
        self.sessions.push_back(Session {
            hash: hash(ticket.text()),
            until: now + SESSION_LIFE,
            idle_until: now + SESSION_IDLE,
        });
    }

    /// Whether `text` is a session; one that is used stays.
    pub(super) fn use_session(&mut self, text: &str, now: Duration) -> bool {
        self.forget_old(now);
        let wanted = hash(text);
        let found = self.sessions.iter_mut().find(|s| s.hash == wanted);
        found.is_some_and(|session| {
            session.idle_until = now + SESSION_IDLE;
            true
        })
    }

    /// Ends a session; one that is not there is fine.
    pub(super) fn end_session(&mut self, text: &str) {
        let ended = hash(text);
        self.sessions.retain(|session| session.hash != ended);
    }

    /// Whether anybody can open the page or has it open.
    pub(super) fn in_use(&mut self, now: Duration) -> bool {
        self.forget_old(now);
        !self.links.is_empty() || !self.sessions.is_empty()
    }

    fn forget_old(&mut self, now: Duration) {
        self.links.retain(|link| now < link.until);
        self.sessions
            .retain(|session| now < session.until.min(session.idle_until));
    }
}

/// Drops the oldest until one more fits.
fn make_room<T>(queue: &mut VecDeque<T>, length_max: usize) {
    let surplus = (queue.len() + 1).saturating_sub(length_max);
    queue.drain(..surplus);
}

#[cfg(test)]
mod tests;
