//! Backends given as URLs: their origin, and the addresses behind it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lockgate_diag::{Diagnostic, codes};

/// A name that does not resolve in this time is treated as not resolving.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most addresses kept per name; a name with more is served by its first ones.
const ADDRESSES_MAX: usize = 16;

/// The origin of a plain HTTP URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// Parses `http://host[:port][/]`. A path is refused, because it would silently be dropped.
    pub(crate) fn parse(url: &str) -> Result<Self, Box<Diagnostic>> {
        let refuse = |what: &str, hint: &str| {
            Box::new(
                Diagnostic::error(
                    codes::store::BAD_BACKEND,
                    format!("the backend `{url}` {what}"),
                )
                .hint(hint),
            )
        };
        let form = "write it as `http://host:port` or `service://project/stack/name`";
        if url.starts_with("https://") {
            return Err(refuse(
                "uses TLS, which the gateway does not speak to backends",
                "use the backend's `http://` address on a trusted network",
            ));
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| refuse("is neither a service nor a URL", form))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(refuse("has more than a host and a port", form));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or_else(|| refuse("has no valid port", form))?)
            }
            _ => (authority, 80),
        };
        if host.is_empty() || host.len() > 253 {
            return Err(refuse("has no valid host", form));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The name of its upstream: `http://host:port`.
    pub(crate) fn name(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// The addresses behind it now, sorted, so that an unchanged answer compiles to an unchanged
    /// spec whatever order the resolver gave.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let mut addresses: Vec<SocketAddr> =
            match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("no answer from the resolver".into()),
            };
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_origins_or_are_refused() {
        for (url, name) in [
            ("http://Example.org", "http://example.org:80"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(Origin::parse(url).unwrap().name(), name);
        }
        for url in [
            "https://example.org",
            "ftp://example.org",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://a/path",
            "http://user@a",
        ] {
            let error = Origin::parse(url).unwrap_err();
            assert_eq!(error.code, codes::store::BAD_BACKEND, "{url}");
        }
    }

    #[tokio::test]
    async fn literal_addresses_need_no_resolver() {
        let addresses = Origin::parse("http://[::1]:9").unwrap().resolve().await;
        assert_eq!(addresses, Ok(vec!["[::1]:9".parse().unwrap()]));
    }
}
