//! Turns a spec into a table, or into diagnostics. An invalid spec is refused whole.

mod ai;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes::gateway as codes, did_you_mean};
use lockgate_model::gateway::{AuthPolicy, GatewaySpec, PathMatch, RouteSpec};

use super::ai::{Model, Vendor};
use super::router::{Node, Router, SEGMENTS_MAX, Site};
use super::state::State;
use super::{Auth, Conditions, Consumer, Limit, Route, Table, Upstream};
use crate::h1::field::{Field, classify};
use crate::path::normalise;
use crate::policy::auth::Keys;
use crate::policy::limit::{PER_SECOND_MAX, Rate};

/// Caps of one spec: far above any node we know, far below what exhausts one.
const ROUTES_MAX: usize = 100_000;
const CONSUMERS_MAX: usize = 500_000;
const KEYS_MAX: usize = 1_000_000;
const UPSTREAMS_MAX: usize = 100_000;
const AI_OBJECTS_MAX: usize = 10_000;
/// Most bytes of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Everything wrong with `spec`; the same step that the gateway runs before it serves a table.
/// Warnings do not stop it.
pub fn check(spec: &GatewaySpec) -> Vec<Diagnostic> {
    compile(spec, &mut State::new(1)).1
}

/// The table of `spec` with its diagnostics; `None` when one of them is an error.
pub(crate) fn compile(spec: &GatewaySpec, state: &mut State) -> (Option<Table>, Vec<Diagnostic>) {
    let mut compiler = Compiler {
        spec,
        found: Vec::new(),
        upstreams: HashMap::new(),
        consumers: HashMap::new(),
        vendors: HashMap::new(),
        models: HashMap::new(),
    };
    compiler.check_sizes();
    if !compiler.found.is_empty() {
        return (None, compiler.found);
    }
    compiler.check_unique();
    let consumers = compiler.consumers(state);
    let keys = compiler.keys();
    let upstreams = compiler.upstreams(state);
    compiler.vendors();
    compiler.models();
    let routes = compiler.routes(state);
    let router = compiler.router();
    let found = compiler.found;
    let table = (!found.iter().any(Diagnostic::is_error)).then(|| {
        state.retain(spec);
        Table {
            version: spec.version,
            router,
            routes,
            consumers,
            keys,
            upstreams,
        }
    });
    (table, found)
}

struct Compiler<'s> {
    spec: &'s GatewaySpec,
    found: Vec<Diagnostic>,
    upstreams: HashMap<&'s str, u32>,
    consumers: HashMap<&'s str, u32>,
    vendors: HashMap<&'s str, Arc<Vendor>>,
    models: HashMap<&'s str, Arc<Model>>,
}

/// Positions in a spec fit 32 bits, see the caps above.
fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<'s> Compiler<'s> {
    fn check_sizes(&mut self) {
        let spec = self.spec;
        for (what, count, max) in [
            ("routes", spec.routes.len(), ROUTES_MAX),
            ("consumers", spec.consumers.len(), CONSUMERS_MAX),
            ("API keys", spec.api_keys.len(), KEYS_MAX),
            ("upstreams", spec.upstreams.len(), UPSTREAMS_MAX),
            ("AI vendors", spec.ai.vendors.len(), AI_OBJECTS_MAX),
            ("AI models", spec.ai.models.len(), AI_OBJECTS_MAX),
        ] {
            if count > max {
                self.found.push(Diagnostic::error(
                    codes::TOO_MANY_OBJECTS,
                    format!("{count} {what}, expected at most {max}"),
                ));
            }
        }
    }

    fn check_unique(&mut self) {
        let spec = self.spec;
        let routes = spec.routes.iter().map(|r| ("route", r.name.as_str()));
        let consumers = spec.consumers.iter().map(|c| ("consumer", c.name.as_str()));
        let keys = spec.api_keys.iter().map(|k| ("API key", k.id.as_str()));
        let upstreams = spec.upstreams.iter().map(|u| ("upstream", u.name.as_str()));
        let mut seen = HashSet::new();
        let vendors = spec.ai.vendors.iter();
        let vendors = vendors.map(|v| ("AI vendor", v.name.as_str()));
        let models = spec.ai.models.iter().map(|m| ("AI model", m.name.as_str()));
        let ai = vendors.chain(models);
        for object in routes
            .chain(consumers)
            .chain(keys)
            .chain(upstreams)
            .chain(ai)
        {
            if !seen.insert(object) {
                self.found.push(Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    format!("{} `{}` is defined twice", object.0, object.1),
                ));
            }
        }
    }

    fn consumers(&mut self, state: &mut State) -> Vec<Consumer> {
        let spec = self.spec;
        let each = spec.consumers.iter().enumerate();
        each.map(|(at, consumer)| {
            self.consumers.insert(&consumer.name, index(at));
            let name: Arc<str> = consumer.name.as_str().into();
            if !is_field_value(&consumer.name) {
                self.found.push(Diagnostic::error(
                    codes::BAD_MATCH,
                    format!(
                        "consumer name {:?} cannot be sent in a header, expected printable ASCII",
                        consumer.name
                    ),
                ));
            }
            let slot = state.slot(&name);
            Consumer { name, slot }
        })
        .collect()
    }

    fn keys(&mut self) -> Keys {
        let mut keys = Keys::default();
        for key in &self.spec.api_keys {
            let Some(consumer) = self.consumer(&key.consumer, "API key", &key.id) else {
                continue;
            };
            if !keys.add(key, consumer) {
                self.found.push(Diagnostic::error(
                    codes::BAD_KEY_ID,
                    format!("API key id `{}` is not 16 lower-case hex digits", key.id),
                ));
            }
        }
        keys
    }

    /// Index of a consumer, or a diagnostic that names who asked.
    fn consumer(&mut self, name: &str, kind: &str, owner: &str) -> Option<u32> {
        let found = self.consumers.get(name).copied();
        if found.is_none() {
            self.found.push(with_guess(
                Diagnostic::error(
                    codes::UNKNOWN_CONSUMER,
                    format!("{kind} `{owner}` names consumer `{name}`, which does not exist"),
                ),
                name,
                self.spec.consumers.iter().map(|c| c.name.as_str()),
            ));
        }
        found
    }

    fn upstreams(&mut self, state: &mut State) -> Vec<Upstream> {
        let spec = self.spec;
        let each = spec.upstreams.iter().enumerate();
        each.map(|(at, upstream)| {
            self.upstreams.insert(&upstream.name, index(at));
            Upstream {
                name: upstream.name.as_str().into(),
                endpoints: upstream
                    .endpoints
                    .iter()
                    .map(|endpoint| state.endpoint(endpoint))
                    .collect(),
            }
        })
        .collect()
    }

    fn routes(&mut self, state: &mut State) -> Vec<Route> {
        let spec = self.spec;
        spec.routes
            .iter()
            .map(|route| self.route(route, state))
            .collect()
    }

    fn route(&mut self, spec: &'s RouteSpec, state: &mut State) -> Route {
        let name: Arc<str> = spec.name.as_str().into();
        let stats = state.stats(&name);
        let limit = spec.rate_limit.as_ref().and_then(|policy| {
            let rate = Rate::new(policy);
            if rate.is_none() {
                self.found.push(Diagnostic::error(
                    codes::BAD_LIMIT,
                    format!(
                        "route `{name}` limits to {} requests per {:?} with burst {}, expected at least 1 of each and at most {PER_SECOND_MAX} per second",
                        policy.requests, policy.per, policy.burst
                    ),
                ));
            }
            Some(Limit { rate: rate?, cells: state.cells(&name) })
        });
        let times = &spec.timeouts;
        if [times.connect, times.head, times.idle]
            .iter()
            .any(|t| t.is_zero())
            || times.total.is_some_and(|t| t.is_zero())
        {
            self.found.push(Diagnostic::error(
                codes::BAD_TIMEOUT,
                format!("route `{name}` has a time limit of zero, expected longer ones"),
            ));
        }
        Route {
            conditions: self.conditions(spec),
            backends: self.backends(spec),
            strip_prefix: self.strip_prefix(spec),
            auth: self.auth(spec),
            limit,
            timeouts: spec.timeouts.clone(),
            body_bytes_max: spec.body_bytes_max,
            ai: spec.ai.as_ref().map(|policy| self.ai_route(spec, policy)),
            stats,
            name,
        }
    }

    fn backends(&mut self, spec: &RouteSpec) -> Vec<(u32, u64)> {
        let mut sum = 0_u64;
        let mut backends = Vec::with_capacity(spec.backends.len());
        for backend in &spec.backends {
            let name = backend.upstream_name();
            let Some(index) = self.upstreams.get(&*name) else {
                self.found.push(with_guess(
                    Diagnostic::error(
                        codes::UNKNOWN_UPSTREAM,
                        format!(
                            "route `{}` names upstream `{name}`, which does not exist",
                            spec.name
                        ),
                    ),
                    &name,
                    self.spec.upstreams.iter().map(|u| u.name.as_str()),
                ));
                continue;
            };
            sum += u64::from(backend.weight);
            if backend.weight > 0 {
                backends.push((*index, sum));
            }
        }
        if spec.ai.is_none() && spec.backends.iter().all(|b| b.weight == 0) {
            self.found.push(Diagnostic::error(
                codes::NO_BACKEND,
                format!("route `{}` has no backend with a weight above 0", spec.name),
            ));
        }
        backends
    }

    fn strip_prefix(&mut self, spec: &RouteSpec) -> Option<Box<str>> {
        let prefix = spec.strip_prefix.as_deref()?;
        self.check_path(spec, prefix);
        let prefix = prefix.trim_end_matches('/');
        let covers = |path: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for path in &spec.matches.paths {
            if let PathMatch::Exact(path) | PathMatch::Prefix(path) = path
                && !covers(path)
            {
                self.found.push(Diagnostic::error(
                    codes::BAD_PATH,
                    format!(
                        "route `{}` strips `{prefix}`, but its path `{path}` does not begin with it",
                        spec.name
                    ),
                ));
            }
        }
        (!prefix.is_empty()).then(|| prefix.into())
    }

    fn auth(&mut self, spec: &RouteSpec) -> Auth {
        let AuthPolicy::ApiKey { header, consumers } = &spec.auth else {
            return Auth::Public;
        };
        let usable = matches!(
            classify(header.as_bytes()),
            Field::Other | Field::Authorization
        );
        if !is_lower_token(header) || !usable || header == "cookie" {
            self.found.push(Diagnostic::error(
                codes::BAD_AUTH_HEADER,
                format!(
                    "route `{}` takes its key from header `{header}`, expected a lower-case end-to-end field such as `x-api-key`",
                    spec.name
                ),
            ));
        }
        let known: HashSet<u32> = consumers
            .iter()
            .filter_map(|name| self.consumer(name, "route", &spec.name))
            .collect();
        Auth::ApiKey {
            header: header.as_str().into(),
            consumers: (!consumers.is_empty()).then_some(known),
        }
    }

    fn conditions(&mut self, spec: &RouteSpec) -> Conditions {
        let matches = &spec.matches;
        for method in &matches.methods {
            if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
                self.bad_match(spec, "method", method);
            }
        }
        for header in &matches.headers {
            if !is_lower_token(&header.name) {
                self.bad_match(spec, "header", &header.name);
            }
        }
        for parameter in &matches.query {
            if parameter.name.is_empty() || parameter.name.contains(['&', '=', '#']) {
                self.bad_match(spec, "query parameter", &parameter.name);
            }
        }
        let fields = |list: &[lockgate_model::gateway::FieldMatch]| {
            list.iter()
                .map(|f| (f.name.as_str().into(), f.value.as_deref().map(Into::into)))
                .collect()
        };
        Conditions {
            methods: matches.methods.iter().map(|m| m.as_str().into()).collect(),
            headers: fields(&matches.headers),
            query: fields(&matches.query),
        }
    }

    fn bad_match(&mut self, spec: &RouteSpec, what: &str, text: &str) {
        self.found.push(Diagnostic::error(
            codes::BAD_MATCH,
            format!(
                "route `{}` matches {what} `{text}`, which is malformed",
                spec.name
            ),
        ));
    }

    fn check_path(&mut self, spec: &RouteSpec, path: &str) {
        let normal = normalise(path);
        if normal.as_deref() != Ok(path) {
            let mut diagnostic = Diagnostic::error(
                codes::BAD_PATH,
                format!(
                    "route `{}` has path `{path}`, which is not in normal form",
                    spec.name
                ),
            );
            if let Ok(normal) = normal {
                diagnostic = diagnostic.hint(format!("write `{normal}`"));
            }
            self.found.push(diagnostic);
        }
        if path.split('/').count() > SEGMENTS_MAX {
            self.found.push(Diagnostic::error(
                codes::TOO_MANY_OBJECTS,
                format!(
                    "route `{}` has a path of more than {SEGMENTS_MAX} segments",
                    spec.name
                ),
            ));
        }
    }

    /// Puts every route under its hosts and paths, in order of precedence.
    fn router(&mut self) -> Router {
        let spec = self.spec;
        let mut router = Router::default();
        let mut order: Vec<usize> = (0..spec.routes.len()).collect();
        order.sort_by_key(|at| {
            let route = &spec.routes[*at];
            (
                route.matches.methods.is_empty(),
                std::cmp::Reverse(route.matches.headers.len()),
                std::cmp::Reverse(route.matches.query.len()),
                route.name.as_str(),
            )
        });
        for at in order {
            let route = &spec.routes[at];
            let mut shadows = Shadows::default();
            if route.matches.hosts.is_empty() {
                self.place(route, index(at), &mut router.any, &mut shadows);
            }
            for host in &route.matches.hosts {
                let (map, key, name) = match host.strip_prefix('*') {
                    Some(suffix) => (
                        &mut router.wildcard,
                        suffix,
                        suffix.strip_prefix('.').unwrap_or_default(),
                    ),
                    None => (&mut router.exact, host.as_str(), host.as_str()),
                };
                if !is_host(name) {
                    self.found.push(Diagnostic::error(
                        codes::BAD_HOST,
                        format!(
                            "route `{}` has host `{host}`, expected a lower-case name or `*.` and a name",
                            route.name
                        ),
                    ));
                    continue;
                }
                let site = map.entry(key.into()).or_default();
                self.place(route, index(at), site, &mut shadows);
            }
            if let Some(by) = shadows.everywhere() {
                self.found.push(
                    Diagnostic::warning(
                        codes::ROUTE_NEVER_MATCHES,
                        format!(
                            "route `{}` can never match: route `{}` takes all of its requests",
                            route.name, spec.routes[by as usize].name
                        ),
                    )
                    .hint(format!(
                        "change the path, host or conditions of `{}`",
                        route.name
                    )),
                );
            }
        }
        router
    }

    fn place(&mut self, route: &RouteSpec, at: u32, site: &mut Site, shadows: &mut Shadows) {
        let everything = [PathMatch::Prefix("/".into())];
        let paths = match route.matches.paths.as_slice() {
            [] => everything.as_slice(),
            paths => paths,
        };
        for path in paths {
            let list = match path {
                PathMatch::Exact(path) => {
                    self.check_path(route, path);
                    &mut node(&mut site.root, path).exact
                }
                PathMatch::Prefix(path) => {
                    self.check_path(route, path);
                    &mut node(&mut site.root, path.trim_end_matches('/')).prefix
                }
                PathMatch::Regex(pattern) => {
                    self.place_regex(route, pattern, at, site);
                    shadows.spots += 1;
                    continue;
                }
            };
            shadows.spots += 1;
            let by = list
                .iter()
                .copied()
                .find(|earlier| takes_all_of(&self.spec.routes[*earlier as usize], route));
            shadows.by.extend(by);
            list.push(at);
        }
    }

    /// Regular expressions keep the order in which routes state them.
    fn place_regex(&mut self, route: &RouteSpec, pattern: &str, at: u32, site: &mut Site) {
        let compiled = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .build();
        match compiled {
            Ok(regex) => {
                let before = site.regexes.partition_point(|(_, other)| *other <= at);
                site.regexes.insert(before, (regex, at));
            }
            Err(e) => self.found.push(
                Diagnostic::error(
                    codes::BAD_PATH,
                    format!(
                        "route `{}` has path expression `{pattern}`, which does not compile",
                        route.name
                    ),
                )
                .caused_by(&e),
            ),
        }
    }
}

/// In how many places a route stands, and who stands before it there.
#[derive(Default)]
struct Shadows {
    spots: usize,
    by: Vec<u32>,
}

impl Shadows {
    fn everywhere(&self) -> Option<u32> {
        (self.spots > 0 && self.by.len() == self.spots)
            .then(|| self.by.first().copied())
            .flatten()
    }
}

/// Whether every request that `later` takes meets the conditions of `earlier` too.
fn takes_all_of(earlier: &RouteSpec, later: &RouteSpec) -> bool {
    let (a, b) = (&earlier.matches, &later.matches);
    let methods = a.methods.is_empty()
        || (!b.methods.is_empty() && b.methods.iter().all(|m| a.methods.contains(m)));
    methods
        && a.headers.iter().all(|h| b.headers.contains(h))
        && a.query.iter().all(|q| b.query.contains(q))
}

fn node<'n>(root: &'n mut Node, path: &str) -> &'n mut Node {
    path.split('/').skip(1).fold(root, |node, segment| {
        node.children.entry(segment.into()).or_default()
    })
}

fn with_guess<'a>(
    diagnostic: Diagnostic,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostic {
    match did_you_mean(name, known) {
        Some(guess) => diagnostic.hint(format!("write `{guess}`")),
        None => diagnostic,
    }
}

fn is_lower_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b)
        })
}

fn is_field_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A lower-case host name or address without port, as requests are compared.
fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text.len() <= 253
                && text.bytes().all(name)
                && !text.starts_with('.')
                && !text.ends_with('.')
        }
    }
}

#[cfg(test)]
mod tests;
