//! `lockgate:gateway:Route`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DeleteRequest, DiffRequest, DiffResponse, ProviderError,
    ReadRequest, ReadResponse, UpdateRequest,
};
use lockgate_model::gateway::{
    AuthPolicy, BackendSpec, FieldMatch, PathMatch, RateLimitPolicy, RouteMatch, RouteSpec,
    TimeoutPolicy,
};
use lockgate_model::tls::TlsSettings;
use lockgate_model::{Origin, PropertyMap, ServiceId, Urn, Value};

use super::reader::Reader;
use super::tls::read_tls;
use super::{accept, identity, node_failed, qualified};
use crate::bag;
use crate::node::Node;
use crate::package::Kind;
use crate::path::index;

/// Shares stay far from overflow when they are added up.
const WEIGHT_MAX: u64 = 1_000_000;
const REQUESTS_MAX: u64 = 1_000_000_000;

/// The resource type.
pub(super) struct Route(pub(super) Arc<dyn Node>);

fn read_spec(urn: &Urn, inputs: &PropertyMap) -> (RouteSpec, Vec<CheckFailure>) {
    let mut r = Reader::new(inputs);
    let matches = RouteMatch {
        hosts: read_hosts(&mut r),
        paths: read_paths(&mut r),
        methods: read_methods(&mut r),
        headers: read_fields(&r, "headers", str::to_ascii_lowercase),
        query: read_fields(&r, "query", str::to_owned),
    };
    let spec = RouteSpec {
        name: identity(urn).to_string(),
        matches,
        backends: read_backends(&mut r),
        strip_prefix: read_strip_prefix(&mut r),
        auth: read_auth(&mut r, urn),
        rate_limit: r.inside("rateLimit", read_rate_limit),
        timeouts: r.inside("timeouts", read_timeouts).unwrap_or_default(),
        body_bytes_max: r.within("bodyBytesMax", 0, 1 << 50),
        ai: None,
    };
    (spec, r.failures)
}

pub(super) fn read_hosts(r: &mut Reader<'_>) -> Vec<String> {
    let hosts = bag::texts(r.bag(), "hosts");
    for (i, host) in hosts.iter().enumerate() {
        let plain = host.strip_prefix("*.").unwrap_or(host);
        let label = |l: &str| {
            !l.is_empty()
                && l.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if !plain.split('.').all(label) {
            let reason = format!("`{host}` is no host, expected `example.org` or `*.example.org`");
            r.fail_item("hosts", i, reason);
        }
    }
    hosts.iter().map(|h| h.to_ascii_lowercase()).collect()
}

fn read_paths(r: &mut Reader<'_>) -> Vec<PathMatch> {
    let mut paths = Vec::new();
    for (i, item) in bag::list(r.bag(), "paths").iter().enumerate() {
        let at = index("paths", i);
        match item.unsecret() {
            Value::String(text) => {
                if let Some(reason) = not_path(text) {
                    r.fail_item("paths", i, reason);
                }
                paths.push(PathMatch::Prefix(text.clone()));
            }
            Value::Map(map) => {
                let found = r.at(map, at, |r| {
                    let name = r.one_of(&["exact", "prefix", "regex"], false)?;
                    let text = bag::text(map, name)?.to_owned();
                    Some(match name {
                        "exact" => {
                            slash(r, "exact", &text);
                            PathMatch::Exact(text)
                        }
                        "prefix" => {
                            slash(r, "prefix", &text);
                            PathMatch::Prefix(text)
                        }
                        _ => PathMatch::Regex(text),
                    })
                });
                paths.extend(found);
            }
            _ => {}
        }
    }
    paths
}

fn slash(r: &mut Reader<'_>, name: &str, path: &str) {
    if let Some(reason) = not_path(path) {
        r.fail(name, reason);
    }
}

fn not_path(path: &str) -> Option<String> {
    (!path.starts_with('/')).then(|| format!("`{path}` is no path, expected a leading `/`"))
}

fn read_methods(r: &mut Reader<'_>) -> Vec<String> {
    let methods = bag::texts(r.bag(), "methods");
    for (i, method) in methods.iter().enumerate() {
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
            r.fail_item("methods", i, format!("`{method}` is no method"));
        }
    }
    methods.iter().map(|m| m.to_ascii_uppercase()).collect()
}

fn read_fields(r: &Reader<'_>, name: &str, normal: fn(&str) -> String) -> Vec<FieldMatch> {
    bag::text_map(r.bag(), name)
        .into_iter()
        .map(|(name, value)| FieldMatch {
            name: normal(&name),
            value: (value != "*").then_some(value),
        })
        .collect()
}

fn read_backends(r: &mut Reader<'_>) -> Vec<BackendSpec> {
    let items = bag::list(r.bag(), "backends");
    if items.is_empty() && !r.is_unknown("backends") {
        r.fail("backends", "expected at least one, found none");
    }
    let mut backends = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let at = index("backends", i);
        match item.unsecret() {
            Value::String(text) => {
                let upstream = upstream(text);
                if upstream.is_none() {
                    r.fail_item("backends", i, not_upstream(text));
                }
                backends.extend(upstream.map(|upstream| BackendSpec {
                    upstream,
                    tls: TlsSettings::default(),
                    weight: 1,
                }));
            }
            Value::Map(map) => backends.extend(r.at(map, at, read_backend)),
            _ => {}
        }
    }
    backends
}

fn read_backend(r: &mut Reader<'_>) -> Option<BackendSpec> {
    let weight = r.within("weight", 0, WEIGHT_MAX);
    let name = r.one_of(&["service", "url"], false)?;
    let found = bag::text(r.bag(), name).map(|text| (text, upstream(text)));
    let spoken = match &found {
        _ if name == "service" => Some(false),
        Some((_, upstream)) => upstream.as_ref().map(|u| u.starts_with("https://")),
        None => None,
    };
    let tls = read_tls(r, spoken);
    let (text, upstream) = found?;
    let Some(upstream) = upstream else {
        r.fail(name, not_upstream(text));
        return None;
    };
    Some(BackendSpec {
        upstream,
        tls,
        weight: weight.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
    })
}

fn not_upstream(text: &str) -> String {
    format!(
        "`{text}` is no backend, expected `service://project/stack/name`, `https://host` or `http://host:port`"
    )
}

/// The name of an upstream: a service endpoint, or a URL's origin in its normal form.
fn upstream(text: &str) -> Option<String> {
    if let Some(id) = ServiceId::from_endpoint(text) {
        return Some(id.endpoint());
    }
    Origin::parse(text).ok().map(|origin| origin.to_string())
}

fn read_strip_prefix(r: &mut Reader<'_>) -> Option<String> {
    let prefix = bag::text(r.bag(), "stripPrefix")?.to_owned();
    slash(r, "stripPrefix", &prefix);
    Some(prefix)
}

fn read_auth(r: &mut Reader<'_>, urn: &Urn) -> AuthPolicy {
    let read = |r: &mut Reader<'_>| match r.one_of(&["public", "apiKey"], false) {
        Some("public") => {
            if bag::boolean(r.bag(), "public") == Some(false) {
                r.fail("public", "is false, expected `apiKey` instead of it");
            }
            AuthPolicy::Public
        }
        // Whatever is not known or wrong must not read as public.
        _ => r
            .inside("apiKey", |r| read_api_key(r, urn))
            .unwrap_or(AuthPolicy::ApiKey {
                header: String::new(),
                consumers: Vec::new(),
            }),
    };
    r.inside("auth", read).unwrap_or(AuthPolicy::ApiKey {
        header: String::new(),
        consumers: Vec::new(),
    })
}

fn read_api_key(r: &mut Reader<'_>, urn: &Urn) -> AuthPolicy {
    let header = bag::text(r.bag(), "header")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if r.has("header")
        && !r.is_unknown("header")
        && (header.is_empty() || !header.bytes().all(token))
    {
        r.fail("header", format!("`{header}` is no header name"));
    }
    let consumers = bag::texts(r.bag(), "consumers");
    // An empty list would let everybody with a key in, which nobody means by writing it.
    if r.has("consumers")
        && !r.is_unknown("consumers")
        && bag::list(r.bag(), "consumers").is_empty()
    {
        r.fail(
            "consumers",
            "is empty, leave it out to let every consumer call",
        );
    }
    AuthPolicy::ApiKey {
        header,
        consumers: consumers.iter().map(|name| qualified(urn, name)).collect(),
    }
}

pub(super) fn read_rate_limit(r: &mut Reader<'_>) -> RateLimitPolicy {
    let requests = r.within("requests", 1, REQUESTS_MAX).unwrap_or(1);
    RateLimitPolicy {
        requests,
        per: r.duration("per").unwrap_or_default(),
        burst: r.within("burst", 1, REQUESTS_MAX).unwrap_or(requests),
    }
}

fn read_timeouts(r: &mut Reader<'_>) -> TimeoutPolicy {
    TimeoutPolicy {
        connect: r.duration("connect").unwrap_or_default(),
        head: r.duration("head").unwrap_or_default(),
        idle: r.duration("idle").unwrap_or_default(),
        total: r.duration("total"),
    }
}

/// Whether the URL of the old state stays: it follows from hosts and paths.
fn url_stays(old: &PropertyMap, new: &PropertyMap) -> bool {
    let same = |name| {
        old.get(name).map(Value::without_secrets) == new.get(name).map(Value::without_secrets)
    };
    let known = |name| !new.get(name).is_some_and(Value::contains_unknown);
    ["hosts", "paths"]
        .iter()
        .all(|name| same(*name) && known(*name))
}

#[async_trait]
impl Kind for Route {
    fn check(&self, ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        read_spec(&ctx.urn, inputs).1
    }

    async fn diff(
        &self,
        _ctx: &CallContext,
        req: &DiffRequest,
        mut found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        if url_stays(&req.old_inputs, &req.inputs) {
            found.stables = vec!["url".into()];
        }
        Ok(found)
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let (spec, failures) = read_spec(&ctx.urn, &inputs);
        accept(&failures)?;
        let status = self.0.apply_route(spec).await.map_err(node_failed)?;
        let mut outputs = inputs;
        outputs.insert("url".into(), status.url.into());
        Ok(outputs)
    }

    async fn foretell_update(
        &self,
        _ctx: &CallContext,
        req: &UpdateRequest,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if let Some(url) = req.old_outputs.get("url")
            && url_stays(&req.old_inputs, &req.inputs)
        {
            outputs.insert("url".into(), url.clone());
        }
        Ok(outputs)
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_route(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(status) = self.0.find_route(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let mut inputs = req.inputs;
        for name in drifted(&read_spec(&ctx.urn, &inputs).0, &status.spec) {
            inputs.remove(name);
        }
        let mut outputs = inputs.clone();
        outputs.insert("url".into(), status.url.into());
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}

/// Inputs that the node does not have as they were applied. They read as missing, so that the
/// next update states them again.
fn drifted<'a>(wanted: &RouteSpec, found: &RouteSpec) -> impl Iterator<Item = &'a str> {
    [
        ("hosts", wanted.matches.hosts != found.matches.hosts),
        ("paths", wanted.matches.paths != found.matches.paths),
        ("methods", wanted.matches.methods != found.matches.methods),
        ("headers", wanted.matches.headers != found.matches.headers),
        ("query", wanted.matches.query != found.matches.query),
        ("backends", wanted.backends != found.backends),
        ("stripPrefix", wanted.strip_prefix != found.strip_prefix),
        ("auth", wanted.auth != found.auth),
        ("rateLimit", wanted.rate_limit != found.rate_limit),
        ("timeouts", wanted.timeouts != found.timeouts),
        (
            "bodyBytesMax",
            wanted.body_bytes_max != found.body_bytes_max,
        ),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn backends_are_services_or_origins() {
        for (text, expected) in [
            ("service://shop/dev/web", Some("service://shop/dev/web")),
            ("http://127.0.0.1:8080/", Some("http://127.0.0.1:8080")),
            ("http://Example.org", Some("http://example.org:80")),
            ("https://Example.org", Some("https://example.org:443")),
            ("http://[::1]:80", Some("http://[::1]:80")),
            ("http://example.org/path", None),
            ("http://user@host", None),
            ("http://host:0", None),
            ("http://", None),
            ("service://shop/web", None),
            ("example.org", None),
        ] {
            assert_eq!(upstream(text).as_deref(), expected, "{text}");
        }
    }
}
