//! Content digests and image references.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 content digest, printed as `sha256:<64 hex digits>` (OCI image-spec descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a digest, expected sha256: and 64 lower-case hex digits")]
pub struct ParseDigestError(pub String);

impl Digest {
    /// From raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Parses `sha256:<hex>`; other algorithms are refused.
    pub fn parse(text: &str) -> Result<Self, ParseDigestError> {
        let error = || ParseDigestError(text.to_owned());
        let digits = text.strip_prefix("sha256:").ok_or_else(error)?;
        if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
        Ok(Self(bytes))
    }

    /// The hex digits without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The registry name that stands for the local content-addressed store.
pub const LOCAL_REGISTRY: &str = "lockgate.local";

/// A reference to an image: registry, repository, and a tag, a digest or both.
///
/// Short names are normalised as Docker does (`nginx` is `docker.io/library/nginx`); the
/// default tag is not added, so "no tag" stays visible.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// Host, with port if any.
    pub registry: String,
    /// Path below the host.
    pub repository: String,
    /// Tag; information only when there is a digest.
    pub tag: Option<String>,
    /// Digest.
    pub digest: Option<Digest>,
}

/// A text that is no image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ParseImageReferenceError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl ImageReference {
    /// Parses `[registry/]repository[:tag][@digest]` (distribution reference grammar).
    pub fn parse(text: &str) -> Result<Self, ParseImageReferenceError> {
        let error = |reason| ParseImageReferenceError {
            text: text.to_owned(),
            reason,
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(Digest::parse(digest).map_err(|_| error("the digest is malformed"))?),
            ),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            return Err(error("the tag is malformed"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (host.to_owned(), rest.to_owned())
            }
            Some(_) => ("docker.io".to_owned(), name.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{name}")),
        };
        if !valid_registry(&registry) {
            return Err(error("the registry is no host with an optional port"));
        }
        if repository.split('/').any(|part| !valid_component(part)) {
            return Err(error(
                "the repository must be lower-case letters, digits and . _ - /",
            ));
        }
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// Whether it names the local store.
    pub fn is_local(&self) -> bool {
        self.registry == LOCAL_REGISTRY
    }

    /// The same repository at `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }
}

/// A name or an address in brackets, and a port.
fn valid_registry(registry: &str) -> bool {
    let port_at = registry.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match registry[port_at..].find(':') {
        Some(colon) => {
            let (host, port) = registry.split_at(port_at + colon);
            (host, Some(&port[1..]))
        }
        None => (registry, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
            edge(label.bytes().next())
                && edge(label.bytes().last())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    host_ok && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn valid_tag(tag: &str) -> bool {
    let first = tag
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first
        && tag.len() <= 128
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn valid_component(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised() {
        let digest = Digest::of(b"x");
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx".to_owned()),
            ("acme/web:1.4", "docker.io/acme/web:1.4".to_owned()),
            ("localhost:5000/web", "localhost:5000/web".to_owned()),
            (
                &format!("ghcr.io/a/b:t@{digest}"),
                format!("ghcr.io/a/b:t@{digest}"),
            ),
        ] {
            assert_eq!(ImageReference::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "localhost:5000/a",
            "[::1]:5000/a",
            "a-b.c_d/x",
            "10.0.0.1/a",
        ] {
            let good = ImageReference::parse(text).is_ok();
            assert_eq!(good, !text.contains('_'), "{text}");
        }
        for text in [
            "",
            "Nginx",
            "a//b",
            "a:",
            "a@sha256:12",
            "a:b:c",
            "a.b\0/c",
            "a.b?q=/c",
            "u@a.b/c",
            "..a/b",
            "a.:1/b",
            "a.b:x/c",
            "a.b:99999/c",
            "[x.]/y",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text} was accepted");
        }
    }
}
