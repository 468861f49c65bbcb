//! Decides what to do with a request head, without waiting for anything.
//!
//! One pass checks the fields, one pass writes the head for the upstream. Whatever is needed later
//! is copied into the plan, so that nothing borrows the client's bytes across a wait.

use std::rc::Rc;

use tokio::time::Instant;

use super::ai::{self, Operation};
use crate::access_log::put_address;
use crate::core::{Core, Held};
use crate::failure::{Extra, Failure, Form, Kind};
use crate::h1::body::Framing;
use crate::h1::field::{Field, Nominated, classify};
use crate::h1::head::{self, BadLength, FIELDS_MAX, Request};
use crate::h1::write::put_number;
use crate::path::normalise;
use crate::policy::auth::Key;
use crate::table::router::{Asked, Miss};
use crate::table::{Auth, Route, Table};
use crate::trace::Trace;

/// What an answer must know of a request, known as far as its head was understood.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) head_only: bool,
    pub(crate) keep_alive: bool,
    /// `None` when the end of the request cannot be found, so nothing may follow on the
    /// connection.
    pub(crate) framing: Option<Framing>,
    pub(crate) form: Form,
}

/// A request that was let through.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) table: Rc<Held>,
    pub(crate) route: u32,
    pub(crate) framing: Framing,
    /// The client waits for 100 before it sends its body.
    pub(crate) expects_continue: bool,
    pub(crate) head_only: bool,
    /// May be sent again when the first try may have been seen: safe methods only. PUT and DELETE
    /// are idempotent by the book, but upstreams do not all keep to it.
    pub(crate) repeatable: bool,
    pub(crate) keep_alive: bool,
    /// Minor version of the client.
    pub(crate) minor: u8,
    /// The end of the route's total time.
    pub(crate) deadline: Option<Instant>,
    /// What is asked of an AI route; `None` on all others.
    pub(crate) ai: Option<Operation>,
}

impl Plan {
    pub(crate) fn route(&self) -> &Route {
        &self.table.routes[self.route as usize]
    }
}

/// Checks, routes, authenticates and limits the request of `bytes`, and writes its head for the
/// upstream to `out`.
pub(crate) fn plan(
    core: &Core,
    bytes: &[u8],
    facts: &mut Facts,
    trace: &mut Trace,
    out: &mut Vec<u8>,
) -> Result<Plan, Failure> {
    let table = core.table();
    trace.table_version = table.version;
    let mut slots = head::slots();
    let request = head::parse_request(bytes, &mut slots, core.shared.limits.target_bytes_max)?;
    facts.head_only = request.method == "HEAD";
    trace.asked(request.method, "", "");
    let declared = head::declared_framing(request.fields, request.minor).map_err(|e| match e {
        BadLength::Ambiguous => Kind::BadFraming,
        BadLength::UnknownCoding => Kind::UnknownCoding,
    })?;
    let framing = declared.unwrap_or(Framing::Length(0));
    let survey = Survey::of(&request)?;
    facts.keep_alive = request.minor == 1 && !survey.nominated.close;
    let target = Target::of(&request, survey.host)?;
    let path = normalise(target.path).map_err(|_| Kind::BadTarget)?;
    facts.framing = Some(framing);
    let host = survey.host.to_ascii_lowercase();
    let name = without_port(&host);
    trace.asked(request.method, &host, &path);

    let asked = Asked {
        method: request.method,
        host: name,
        path: &path,
        query: target.query.unwrap_or_default(),
        fields: request.fields,
    };
    let route_index = find_route(&table, asked)?;
    let route = &table.routes[route_index as usize];
    trace.route = Some(route.name.clone());
    facts.form = route.error_form();
    admit(core, &table, route, (&request, &survey), trace)?;
    if let (Some(max), Framing::Length(length)) = (route.body_bytes_max, framing)
        && length > max
    {
        return Err(Kind::BodyTooLarge.into());
    }
    let expects_continue = survey.expects_continue(&request)? && framing != Framing::Length(0);

    let written = Head {
        request: &request,
        survey: &survey,
        path: stripped(route, &path),
        query: target.query,
        declared,
        credential: match &route.auth {
            Auth::Public => None,
            Auth::ApiKey { header, .. } => Some(header.as_bytes()),
        },
        expects_continue,
    };
    let asked = route.ai.as_ref();
    let ai = asked.map(|_| ai::operation(request.method, written.path));
    let ai = ai.transpose()?;
    match ai {
        None => written.write(trace, out),
        Some(_) => written.write_for_vendor(out),
    }
    let deadline = route.timeouts.total.map(|total| Instant::now() + total);
    Ok(Plan {
        route: route_index,
        framing,
        expects_continue,
        head_only: facts.head_only,
        repeatable: matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE"),
        keep_alive: facts.keep_alive,
        minor: request.minor,
        deadline,
        ai,
        table,
    })
}

/// Authenticates, authorises and limits the caller.
fn admit(
    core: &Core,
    table: &Table,
    route: &Route,
    (request, survey): (&Request<'_, '_>, &Survey<'_>),
    trace: &mut Trace,
) -> Result<(), Failure> {
    let key = authenticate(core, table, route, request, survey)?;
    if let Some(key) = key {
        trace.api_key = Some(key.id.clone());
        trace.consumer = Some(table.consumers[key.consumer as usize].name.clone());
    }
    authorise(route, key)?;
    limit(core, table, route, key, trace)
}

/// What one pass over the fields found.
struct Survey<'b> {
    kinds: [Field; FIELDS_MAX],
    host: &'b str,
    nominated: Nominated<'b>,
    expect: Option<&'b [u8]>,
}

impl<'b> Survey<'b> {
    fn of(request: &Request<'_, 'b>) -> Result<Self, Kind> {
        let mut survey = Self {
            kinds: [Field::Other; FIELDS_MAX],
            host: "",
            nominated: Nominated::default(),
            expect: None,
        };
        let mut host = None;
        let mut single: [bool; 2] = [false; 2];
        for (field, kind) in request.fields.iter().zip(&mut survey.kinds) {
            *kind = classify(field.name.as_bytes());
            let repeated = match kind {
                Field::Host => host.replace(field.value).is_some(),
                Field::ContentType => std::mem::replace(&mut single[0], true),
                Field::Authorization => std::mem::replace(&mut single[1], true),
                Field::Expect => survey.expect.replace(field.value).is_some(),
                Field::Connection => {
                    survey
                        .nominated
                        .add(field.value)
                        .map_err(|_| Kind::BadField)?;
                    false
                }
                _ => false,
            };
            if repeated {
                return Err(if *kind == Field::Host {
                    Kind::BadHost
                } else {
                    Kind::BadField
                });
            }
        }
        survey.host = host.and_then(parse_host).ok_or(Kind::BadHost)?;
        Ok(survey)
    }

    /// Whether the client waits for 100; HTTP/1.0 clients cannot (RFC 9110 §10.1.1).
    fn expects_continue(&self, request: &Request<'_, '_>) -> Result<bool, Kind> {
        match self.expect {
            None => Ok(false),
            Some(value) if !value.eq_ignore_ascii_case(b"100-continue") => {
                Err(Kind::BadExpectation)
            }
            Some(_) => Ok(request.minor == 1),
        }
    }
}

/// A well-formed `Host` value (RFC 9110 §7.2).
fn parse_host(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let name = without_port(text);
    let port = &text[name.len()..];
    let port_ok =
        port.is_empty() || (port.len() <= 6 && port.bytes().skip(1).all(|b| b.is_ascii_digit()));
    let name_ok = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.len() <= 253
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        }
    };
    (port_ok && name_ok).then_some(text)
}

/// The host without its port, and without the dot that only says it is absolute.
fn without_port(host: &str) -> &str {
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    &host[..end]
}

/// The parts of a request target.
struct Target<'b> {
    path: &'b str,
    /// Without the `?`.
    query: Option<&'b str>,
}

impl<'b> Target<'b> {
    fn of(request: &Request<'_, 'b>, host: &str) -> Result<Self, Kind> {
        let target = request.target;
        if request.method == "CONNECT" {
            return Err(Kind::MethodNotAllowed);
        }
        if target.contains('#') {
            return Err(Kind::BadTarget);
        }
        let origin_form = if target.starts_with('/') {
            target
        } else if target == "*" && request.method == "OPTIONS" {
            // Nothing of ours answers for the whole server.
            return Err(Kind::NoRoute);
        } else {
            let rest = strip_scheme(target).ok_or(Kind::BadTarget)?;
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !authority.eq_ignore_ascii_case(host) {
                return Err(Kind::BadTarget);
            }
            if path.is_empty() { "/" } else { path }
        };
        let (path, query) = match origin_form.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (origin_form, None),
        };
        Ok(Self {
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

fn find_route(table: &Table, asked: Asked<'_>) -> Result<u32, Failure> {
    let found = table
        .router
        .find(asked, |index| &table.routes[index as usize].conditions);
    found.map_err(|miss| match miss {
        Miss::NoRoute => Kind::NoRoute.into(),
        Miss::Method(routes) => {
            let mut allowed: Vec<&str> = routes
                .iter()
                .flat_map(|index| &table.routes[*index as usize].conditions.methods)
                .map(|method| &**method)
                .collect();
            allowed.sort_unstable();
            allowed.dedup();
            Failure {
                extra: Extra::Allow(allowed.join(", ")),
                ..Kind::MethodNotAllowed.into()
            }
        }
    })
}

/// The key that the request proves to hold; `None` on public routes.
fn authenticate<'t>(
    core: &Core,
    table: &'t Table,
    route: &Route,
    request: &Request<'_, '_>,
    survey: &Survey<'_>,
) -> Result<Option<&'t Key>, Failure> {
    let Auth::ApiKey { header, .. } = &route.auth else {
        return Ok(None);
    };
    let mut values = request
        .fields
        .iter()
        .filter(|field| is_credential(field.name.as_bytes(), header.as_bytes()));
    let (value, more) = (values.next(), values.next());
    if more.is_some() || survey.nominated.has(header.as_bytes()) {
        return Err(Kind::BadField.into());
    }
    let text = value.and_then(|field| std::str::from_utf8(field.value).ok());
    let text = if &**header == "authorization" {
        text.and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key)
    } else {
        text
    };
    let key = text.and_then(|text| table.keys.find(&core.shared.hasher, text));
    key.map(Some).ok_or(Kind::Unauthenticated.into())
}

/// Whether a field carries the credential, in any spelling an upstream could fold into it.
fn is_credential(name: &[u8], header: &[u8]) -> bool {
    let fold = |b: u8| {
        if b == b'_' {
            b'-'
        } else {
            b.to_ascii_lowercase()
        }
    };
    name.len() == header.len() && name.iter().zip(header).all(|(a, b)| fold(*a) == fold(*b))
}

fn authorise(route: &Route, key: Option<&Key>) -> Result<(), Failure> {
    match (&route.auth, key) {
        (
            Auth::ApiKey {
                consumers: Some(allowed),
                ..
            },
            Some(key),
        ) if !allowed.contains(&key.consumer) => Err(Kind::Forbidden.into()),
        _ => Ok(()),
    }
}

fn limit(
    core: &Core,
    table: &Table,
    route: &Route,
    key: Option<&Key>,
    trace: &Trace,
) -> Result<(), Failure> {
    let Some(limit) = &route.limit else {
        return Ok(());
    };
    let now = u64::try_from(trace.started.as_nanos()).unwrap_or(u64::MAX);
    let known = key.and_then(|key| {
        let slot = table.consumers[key.consumer as usize].slot;
        limit.cells.get(slot)
    });
    let cell = known.unwrap_or_else(|| core.shared.anonymous.get(&route.name, trace.client));
    limit.rate.take(cell, now).map_err(|wait| Failure {
        extra: Extra::Limit {
            wait: wait.div_ceil(1_000_000_000).max(1),
            burst: limit.rate.burst,
            window: limit.rate.span().div_ceil(1_000_000_000).max(1),
        },
        ..Kind::Limited.into()
    })
}

/// The path after the route's prefix; still in normal form.
fn stripped<'p>(route: &Route, path: &'p str) -> &'p str {
    let rest = route
        .strip_prefix
        .as_deref()
        .and_then(|prefix| path.strip_prefix(prefix));
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// What goes into the head for the upstream.
struct Head<'a, 'b> {
    request: &'a Request<'a, 'b>,
    survey: &'a Survey<'b>,
    path: &'a str,
    query: Option<&'a str>,
    declared: Option<Framing>,
    /// Name of the field that carried the key.
    credential: Option<&'a [u8]>,
    expects_continue: bool,
}

impl Head<'_, '_> {
    /// Writes the fields that a vendor may see; the rest of its head is written with the body.
    fn write_for_vendor(&self, out: &mut Vec<u8>) {
        for field in self.request.fields {
            let name = field.name.as_bytes();
            if ai::is_for_vendor(name) && !self.survey.nominated.has(name) {
                put_field(out, name, field.value);
            }
        }
    }

    fn write(&self, trace: &Trace, out: &mut Vec<u8>) {
        out.extend_from_slice(self.request.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.path.as_bytes());
        if let Some(query) = self.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(self.survey.host.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (field, kind) in self.request.fields.iter().zip(&self.survey.kinds) {
            let passes = matches!(
                kind,
                Field::Other
                    | Field::Single
                    | Field::ContentType
                    | Field::Authorization
                    | Field::Date
            );
            let name = field.name.as_bytes();
            let credential = self.credential.is_some_and(|c| is_credential(name, c));
            if passes && !credential && !self.survey.nominated.has(name) {
                put_field(out, name, field.value);
            }
        }
        if let Some(consumer) = &trace.consumer {
            put_field(out, b"x-consumer-id", consumer.as_bytes());
        }
        put_field(out, b"x-request-id", &trace.id);
        out.extend_from_slice(b"x-forwarded-for: ");
        put_address(out, trace.client);
        out.extend_from_slice(b"\r\nx-forwarded-proto: http\r\n");
        put_field(out, b"x-forwarded-host", self.survey.host.as_bytes());
        if self.expects_continue {
            out.extend_from_slice(b"expect: 100-continue\r\n");
        }
        match self.declared {
            Some(Framing::Length(length)) => {
                out.extend_from_slice(b"content-length: ");
                put_number(out, length);
                out.extend_from_slice(b"\r\n");
            }
            Some(Framing::Chunked) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Some(Framing::Close) | None => {}
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends one field. Its parts come from the parser or the table, so they hold no line end.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
