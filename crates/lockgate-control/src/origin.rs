//! Backends given as URLs: their origin, and the addresses behind it.

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::Origin;

/// A name that does not resolve in this time is treated as not resolving.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most addresses kept per name; a name with more is served by its first ones.
const ADDRESSES_MAX: usize = 16;

/// The origin of a backend. A path is refused, because it would silently be dropped.
pub(crate) fn parse(url: &str) -> Result<Origin, Box<Diagnostic>> {
    Origin::parse(url).map_err(|why| {
        let text = format!("the backend `{url}` {why}");
        let form =
            "write it as `https://host`, `http://host:port` or `service://project/stack/name`";
        Box::new(Diagnostic::error(codes::store::BAD_BACKEND, text).hint(form))
    })
}

/// The addresses behind an origin now. Sorted inside each family, so that an unchanged answer
/// compiles to an unchanged spec; the family that the resolver prefers comes first.
pub(crate) async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, String> {
    if let Some(address) = origin.address() {
        return Ok(vec![SocketAddr::new(address, origin.port())]);
    }
    let lookup = tokio::net::lookup_host((origin.bare_host(), origin.port()));
    let addresses = match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer from the resolver".into()),
    };
    Ok(ordered(addresses))
}

fn ordered(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    addresses.sort_unstable_by_key(|address| (address.is_ipv6() != preferred, *address));
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_origin_is_told() {
        for url in ["ftp://example.org", "http://a/path", "http://user@a"] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code, codes::store::BAD_BACKEND, "{url}");
        }
    }

    #[test]
    fn the_preferred_family_comes_first_and_order_does_not_matter() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|a| a.parse().unwrap()).collect()
        };
        let v4_first = parse(&["2.2.2.2:1", "[::2]:1", "1.1.1.1:1", "[::1]:1", "1.1.1.1:1"]);
        let sorted = parse(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(ordered(v4_first), sorted);
        let v6_first = parse(&["[::2]:1", "1.1.1.1:1", "[::1]:1"]);
        assert_eq!(
            ordered(v6_first),
            parse(&["[::1]:1", "[::2]:1", "1.1.1.1:1"])
        );
    }

    #[tokio::test]
    async fn literal_addresses_need_no_resolver() {
        let origin = parse("https://[::1]:9").unwrap();
        assert_eq!(resolve(&origin).await, Ok(vec!["[::1]:9".parse().unwrap()]));
    }
}
