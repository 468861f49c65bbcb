//! What a header field means to a gateway, found by its name.

/// The meaning of a field for forwarding. Everything else is end-to-end and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    /// Hop-by-hop: removed.
    Hop,
    Expect,
    /// May occur once at most; passes.
    Single,
    /// `Authorization`: may occur once at most; passes unless a policy consumes it.
    Authorization,
    /// Written by the gateway alone: removed when it comes from outside, in every spelling that
    /// an upstream could fold into ours.
    Identity,
    Date,
    ContentType,
    Other,
}

/// Longest name in the table below.
const LONGEST: usize = 24;

/// The meaning of `name`, compared without regard to case; `_` counts as `-` for identity fields,
/// because CGI-like upstreams read both as one.
pub(crate) fn classify(name: &[u8]) -> Field {
    if name.len() > LONGEST {
        return if has_identity_prefix(name) {
            Field::Identity
        } else {
            Field::Other
        };
    }
    let mut lower = [0_u8; LONGEST];
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    match &lower[..name.len()] {
        b"host" => Field::Host,
        b"content-length" => Field::ContentLength,
        b"transfer-encoding" => Field::TransferEncoding,
        b"connection" => Field::Connection,
        b"keep-alive"
        | b"proxy-connection"
        | b"te"
        | b"trailer"
        | b"upgrade"
        | b"proxy-authorization"
        | b"proxy-authenticate"
        | b"http2-settings" => Field::Hop,
        b"expect" => Field::Expect,
        b"content-type" => Field::ContentType,
        b"content-location" | b"content-range" | b"if-modified-since" | b"max-forwards" => {
            Field::Single
        }
        b"authorization" => Field::Authorization,
        b"forwarded" => Field::Identity,
        b"date" => Field::Date,
        [b'x', b'-' | b'_', ..] if has_identity_prefix(name) => Field::Identity,
        // Spelled with `_`, an upstream of the CGI family would read it as the framing field.
        b"content_length" | b"transfer_encoding" => Field::Hop,
        _ => Field::Other,
    }
}

/// Names (or name starts) that carry identity, with `-` for both separators.
const IDENTITY: [&[u8]; 4] = [
    b"x-consumer-id",
    b"x-request-id",
    b"x-forwarded-",
    b"x-real-ip",
];

fn has_identity_prefix(name: &[u8]) -> bool {
    IDENTITY.iter().any(|known| {
        let whole = known.last() != Some(&b'-');
        (if whole {
            name.len() == known.len()
        } else {
            name.len() > known.len()
        }) && name.iter().zip(*known).all(|(have, want)| {
            let have = if *have == b'_' {
                b'-'
            } else {
                have.to_ascii_lowercase()
            };
            have == *want
        })
    })
}

/// The most tokens of `Connection` that are looked at; more is refused.
const NOMINATED_MAX: usize = 8;

/// What `Connection` said: whether to close, and which further fields are hop-by-hop.
#[derive(Debug, Default)]
pub(crate) struct Nominated<'a> {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    names: [&'a [u8]; NOMINATED_MAX],
    count: usize,
}

/// `Connection` names a field that must not be removed, or too many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadConnection;

impl<'a> Nominated<'a> {
    /// Adds the tokens of one `Connection` value.
    pub(crate) fn add(&mut self, value: &'a [u8]) -> Result<(), BadConnection> {
        for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if !token.is_empty() {
                let kept = matches!(classify(token), Field::Hop | Field::Other);
                if !kept || self.count == NOMINATED_MAX || token.eq_ignore_ascii_case(b"cookie") {
                    return Err(BadConnection);
                }
                self.names[self.count] = token;
                self.count += 1;
            }
        }
        Ok(())
    }

    /// Whether the field `name` was named.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.names[..self.count]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(name))
    }
}
