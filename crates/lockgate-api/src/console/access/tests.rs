//! Links open once and for a minute; sessions end by age, by idleness and by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[derive(Default)]
struct Counter(AtomicU64);

impl Rng for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        let call = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = call[at % 8];
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_link_opens_once_and_within_its_life() {
    let rng = Counter::default();
    let mut access = Access::default();
    let (used, late) = (Ticket::new(&rng), Ticket::new(&rng));
    access.add_link(&used, Duration::ZERO);
    access.add_link(&late, Duration::ZERO);
    assert!(!access.take_link("guess", SECOND));
    assert!(access.take_link(used.text(), LINK_LIFE - SECOND));
    assert!(!access.take_link(used.text(), LINK_LIFE - SECOND));
    assert!(!access.take_link(late.text(), LINK_LIFE));
    assert!(
        !access.use_session(used.text(), SECOND),
        "a link is no session"
    );
}

#[test]
fn the_oldest_link_makes_room() {
    let rng = Counter::default();
    let mut access = Access::default();
    let tickets: Vec<Ticket> = (0..=LINKS_MAX).map(|_| Ticket::new(&rng)).collect();
    for ticket in &tickets {
        access.add_link(ticket, Duration::ZERO);
    }
    assert!(!access.take_link(tickets[0].text(), SECOND));
    assert!(access.take_link(tickets[1].text(), SECOND));
    assert!(access.take_link(tickets[LINKS_MAX].text(), SECOND));
}

#[test]
fn a_session_ends_by_idleness_by_age_and_by_hand() {
    let rng = Counter::default();
    let mut access = Access::default();
    let (idle, busy, closed) = (Ticket::new(&rng), Ticket::new(&rng), Ticket::new(&rng));
    for ticket in [&idle, &busy, &closed] {
        access.add_session(ticket, Duration::ZERO);
    }
    access.end_session(closed.text());
    assert!(!access.use_session(closed.text(), SECOND));
    let mut now = Duration::ZERO;
    while now + SESSION_IDLE - SECOND < SESSION_LIFE {
        now += SESSION_IDLE - SECOND;
        assert!(access.use_session(busy.text(), now));
    }
    assert!(!access.use_session(idle.text(), SESSION_IDLE));
    assert!(access.in_use(SESSION_LIFE - SECOND));
    assert!(!access.use_session(busy.text(), SESSION_LIFE));
    assert!(!access.in_use(SESSION_LIFE));
}
