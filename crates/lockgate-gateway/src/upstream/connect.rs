//! From a host's addresses to one connection.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Most addresses that one connection tries.
const TRIED_MAX: usize = 6;
/// How long an address may stay silent before the next is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers; `turn` moves the start, so that connections
/// spread. Whoever waits for this sets the time limit.
pub(super) async fn connect_any(
    addresses: &[SocketAddr],
    turn: usize,
) -> io::Result<(TcpStream, SocketAddr)> {
    if let [only] = addresses {
        return Ok((TcpStream::connect(only).await?, *only));
    }
    let mut race = Race {
        waiting: order(addresses, turn),
        running: Vec::new(),
        head_start: Box::pin(sleep(Duration::ZERO)),
        failures: String::new(),
    };
    poll_fn(|cx| race.poll(cx)).await
}

/// The addresses in the order in which they are tried: families in turn (RFC 8305 §4), each from
/// its `turn`-th address on, the family of the first address first.
fn order(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .copied()
        .partition(|a| a.is_ipv6() == first);
    for family in [&mut one, &mut other] {
        if !family.is_empty() {
            let by = turn % family.len();
            family.rotate_left(by);
        }
    }
    let mut ordered = Vec::with_capacity(addresses.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        match (one.next(), other.next()) {
            (None, None) => break,
            pair => ordered.extend([pair.0, pair.1].into_iter().flatten()),
        }
    }
    ordered.truncate(TRIED_MAX);
    // Taken from the end.
    ordered.reverse();
    ordered
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

struct Race {
    waiting: Vec<SocketAddr>,
    running: Vec<(SocketAddr, Attempt)>,
    /// Ends when the next address may start.
    head_start: Pin<Box<Sleep>>,
    failures: String,
}

impl Race {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let mut at = 0;
            while let Some((address, attempt)) = self.running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok((stream, *address))),
                    Poll::Ready(Err(error)) => {
                        let address = *address;
                        self.failed(address, &error);
                        drop(self.running.swap_remove(at));
                    }
                }
            }
            let may_start = self.running.is_empty() || self.head_start.as_mut().poll(cx).is_ready();
            if !may_start {
                return Poll::Pending;
            }
            match self.waiting.pop() {
                Some(address) => {
                    self.running
                        .push((address, Box::pin(TcpStream::connect(address))));
                    let next = Instant::now() + HEAD_START;
                    self.head_start.as_mut().reset(next);
                }
                None if self.running.is_empty() => {
                    let failures = std::mem::take(&mut self.failures);
                    return Poll::Ready(Err(io::Error::other(failures)));
                }
                None => return Poll::Pending,
            }
        }
    }

    fn failed(&mut self, address: SocketAddr, error: &io::Error) {
        if !self.failures.is_empty() {
            self.failures.push_str("; ");
        }
        self.failures.push_str(&format!("{address}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("an address");
        list.iter().map(parse).collect()
    }

    fn tried(list: &[&str], turn: usize) -> Vec<String> {
        let mut ordered = order(&addresses(list), turn);
        ordered.reverse();
        ordered.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn families_take_turns_and_starts_move() {
        let list = ["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1", "[::2]:1"];
        let four = ["1.1.1.1:1", "[::1]:1", "2.2.2.2:1", "[::2]:1", "3.3.3.3:1"];
        assert_eq!(tried(&list, 0), four);
        let next = ["2.2.2.2:1", "[::2]:1", "3.3.3.3:1", "[::1]:1", "1.1.1.1:1"];
        assert_eq!(tried(&list, 1), next);
        assert_eq!(
            tried(&["[::1]:1", "1.1.1.1:1"], 7),
            ["[::1]:1", "1.1.1.1:1"]
        );
        assert_eq!(tried(&[], 1), Vec::<String>::new());
        let many: Vec<String> = (1..40).map(|n| format!("10.0.0.{n}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(tried(&many, 3).len(), TRIED_MAX);
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_no_time_and_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = taken.local_addr().unwrap();
        drop(taken);
        let (_, address) = connect_any(&[refusing, good], 0).await.unwrap();
        assert_eq!(address, good);
        let error = connect_any(&[refusing, refusing], 0).await.unwrap_err();
        assert!(error.to_string().contains(&refusing.to_string()), "{error}");
    }
}
