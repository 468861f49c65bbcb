//! `WWW-Authenticate` (RFC 9110 §11.6.1): the schemes a registry offers.

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each call.
    Basic,
    /// A token from the realm.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Reads the header; a Bearer challenge is preferred where several are offered.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let mut rest = header.trim();
    let mut found = None;
    while !rest.is_empty() {
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let scheme = &rest[..end];
        let (params, after) = parameters(&rest[end..]);
        rest = after;
        let value = |name: &str| {
            let found = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, v)| v.clone())
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = value("realm") {
                let (service, scope) = (value("service"), value("scope"));
                return Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

/// `name=value` pairs up to the next scheme, and what follows them.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut params = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        let name_end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(text.len());
        let (name, after) = text.split_at(name_end);
        // A word without an equals sign is the next scheme.
        let Some(value) = after.trim_start().strip_prefix('=') else {
            return (params, text);
        };
        let (value, after) = read_value(value.trim_start());
        params.push((name.to_owned(), value));
        text = after;
    }
}

/// A token or a quoted string.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}
