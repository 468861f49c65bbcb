//! Origins: where a URL's server is.

use std::fmt;
use std::net::IpAddr;

use crate::tls::is_server_name;

/// Longest host name in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Scheme, host and port of an `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    tls: bool,
    /// Lower case; IPv6 addresses in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Parses the beginning of `http[s]://host[:port]` and gives what follows it; the error
    /// completes "the URL …". User info, a query and a fragment are not taken.
    pub fn parse_start(text: &str) -> Result<(Self, &str), &'static str> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("does not begin with `http://` or `https://`");
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse().ok().filter(|port| digits && *port != 0);
                (host, port.ok_or("has no valid port")?)
            }
            _ => (authority, default_port(tls)),
        };
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err("has no plain host and port");
        }
        let origin = Self { tls, host, port };
        if tls && !is_server_name(origin.bare_host()) {
            return Err("has a host that no certificate can name");
        }
        Ok((origin, rest))
    }

    /// Parses a whole `http[s]://host[:port][/]`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match Self::parse_start(text)? {
            (origin, "" | "/") => Ok(origin),
            _ => Err("has more than a host and a port"),
        }
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host name, or an address without brackets.
    pub fn bare_host(&self) -> &str {
        let inner = self.host.strip_prefix('[');
        inner
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The address, when the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.bare_host().parse().ok()
    }

    /// The port, written or not.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `host` (RFC 9110 §7.2): without the port that is usual.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.tls) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    /// The normal form, always with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(plain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_form() {
        for (text, form, authority) in [
            ("http://Example.org", "http://example.org:80", "example.org"),
            (
                "https://Example.org/",
                "https://example.org:443",
                "example.org",
            ),
            (
                "https://example.org:80",
                "https://example.org:80",
                "example.org:80",
            ),
            (
                "http://127.0.0.1:8080/",
                "http://127.0.0.1:8080",
                "127.0.0.1:8080",
            ),
            ("https://[::1]", "https://[::1]:443", "[::1]"),
            ("http://[::1]:9", "http://[::1]:9", "[::1]:9"),
            ("http://my_host", "http://my_host:80", "my_host"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(origin.to_string(), form);
            assert_eq!(origin.authority(), authority);
        }
        let origin = Origin::parse("https://[::1]:9").unwrap();
        assert_eq!((origin.bare_host(), origin.port()), ("::1", 9));
        assert!(origin.is_tls() && origin.address().is_some());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "ftp://example.org",
            "https:/example.org",
            "http://",
            "https://:443",
            "http://a:0",
            "http://a:+1",
            "http://a:99999",
            "http://a/path",
            "http://user@a",
            "http://a?b",
            "http://[::g]",
            "http://::1",
            "http://a b",
            "https://a..b",
            "https://-a-.org",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
