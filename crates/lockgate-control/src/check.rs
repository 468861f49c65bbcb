//! What an object must fulfil before it is taken, by itself and against the others. Pure.

use lockgate_diag::{Code, Diagnostic, codes, did_you_mean};
use lockgate_model::ai::VendorSpec;
use lockgate_model::gateway::{AuthPolicy, RouteSpec};
use lockgate_model::service::{HealthProbe, ServiceId, ServiceSpec};
use lockgate_model::tls::TlsSettings;

use crate::state::State;

/// Most instances of one service on one node.
const REPLICAS_MAX: u32 = 64;
/// Most objects of a kind; each is held in memory and walked on every publish.
const OBJECTS_MAX: usize = 10_000;
/// Longest name of an object in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Most names listed in one message.
const NAMES_SHOWN: usize = 5;

/// What a check answers.
pub(crate) type Checked = Result<(), Box<Diagnostic>>;

pub(crate) fn refuse(code: Code, message: impl Into<String>) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, message))
}

/// A name is `project/stack/name`, printable and short enough for every place it is shown at.
pub(crate) fn check_name(kind: &str, name: &str) -> Checked {
    let fine = ServiceId::parse(name).is_some()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(char::is_control);
    fine.then_some(()).ok_or_else(|| {
        let name: String = name.chars().take(NAME_BYTES_MAX).collect();
        let message = format!(
            "the {kind} name `{}` is not `project/stack/name` of at most {NAME_BYTES_MAX} bytes",
            name.escape_debug()
        );
        refuse(codes::store::BAD_OBJECT, message)
    })
}

/// A kind has room for one more.
pub(crate) fn check_room(kind: &str, held: usize) -> Checked {
    if held < OBJECTS_MAX {
        return Ok(());
    }
    let message = format!("the node holds {held} {kind}s, the most it may");
    Err(refuse(codes::store::TOO_MANY_OBJECTS, message))
}

pub(crate) fn check_service(spec: &ServiceSpec) -> Checked {
    check_name("service", &spec.id.to_string())?;
    let health = &spec.health;
    let zero = std::time::Duration::ZERO;
    let rules = [
        (
            spec.image.digest.is_some(),
            "its image has no digest, so it would not be known what runs",
        ),
        (
            (1..=REPLICAS_MAX).contains(&spec.replicas),
            "it must have 1 to 64 replicas",
        ),
        (
            health.interval > zero,
            "its health interval must be above zero",
        ),
        (
            health.timeout > zero,
            "its health timeout must be above zero",
        ),
        (health.fall >= 1, "its health `fall` must be at least 1"),
        (
            health.start_timeout > zero,
            "its health start timeout must be above zero",
        ),
        (
            match &health.probe {
                HealthProbe::Http { path } => path.starts_with('/'),
                HealthProbe::Tcp => true,
                HealthProbe::Command { argv } => !argv.is_empty(),
            },
            "its health check needs a path that starts with `/`, or a command",
        ),
    ];
    match rules.iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(refuse(
            codes::store::BAD_OBJECT,
            format!("the service `{}` cannot be applied: {rule}", spec.id),
        )),
        None => Ok(()),
    }
}

/// A route by itself.
pub(crate) fn check_route(route: &RouteSpec) -> Checked {
    check_name("route", &route.name)?;
    if route.ai.is_none() && route.backends.iter().all(|backend| backend.weight == 0) {
        let message = format!(
            "the route `{}` has no backend with a weight above zero",
            route.name
        );
        return Err(refuse(codes::store::BAD_OBJECT, message));
    }
    for backend in &route.backends {
        let spoken = backend.upstream.starts_with("https://");
        check_tls(&backend.tls, spoken, || {
            format!("a backend of the route `{}`", route.name)
        })?;
    }
    Ok(())
}

/// A vendor by itself, but for its name.
pub(crate) fn check_vendor(vendor: &VendorSpec) -> Checked {
    check_tls(&vendor.tls, vendor.base_url.origin.is_tls(), || {
        format!("the AI vendor `{}`", vendor.name)
    })
}

/// TLS settings are for TLS only: elsewhere nobody would keep what they promise.
fn check_tls(tls: &TlsSettings, spoken: bool, who: impl FnOnce() -> String) -> Checked {
    if spoken || tls.is_default() {
        return Ok(());
    }
    let message = format!(
        "{} has certificates or a server name, but its URL is not `https://`",
        who()
    );
    Err(refuse(codes::store::BAD_BACKEND, message))
}

/// Everything a route names is there.
pub(crate) fn check_route_references(route: &RouteSpec, state: &State) -> Checked {
    if !state.routes.contains_key(&route.name) {
        check_room("route", state.routes.len())?;
    }
    for backend in &route.backends {
        let Some(id) = ServiceId::from_endpoint(&backend.upstream) else {
            continue;
        };
        if !state.services.contains_key(&id) {
            let known: Vec<String> = state.services.keys().map(ToString::to_string).collect();
            let message = format!(
                "the route `{}` sends to the service `{id}`, which this node does not run",
                route.name
            );
            return Err(unknown(
                codes::store::UNKNOWN_SERVICE,
                message,
                &id.to_string(),
                &known,
            ));
        }
    }
    if let AuthPolicy::ApiKey { consumers, .. } = &route.auth {
        for consumer in consumers {
            check_consumer_known(
                &format!("the route `{}` admits", route.name),
                consumer,
                state,
            )?;
        }
    }
    Ok(())
}

pub(crate) fn check_consumer_known(who: &str, consumer: &str, state: &State) -> Checked {
    if state.consumers.contains_key(consumer) {
        return Ok(());
    }
    let known: Vec<String> = state.consumers.keys().cloned().collect();
    let message = format!("{who} the consumer `{consumer}`, which this node does not know");
    Err(unknown(
        codes::store::UNKNOWN_CONSUMER,
        message,
        consumer,
        &known,
    ))
}

/// No route sends to the service.
pub(crate) fn check_service_unused(id: &ServiceId, state: &State) -> Checked {
    let endpoint = id.endpoint();
    let routes = state.routes.values().filter(|route| {
        let mut backends = route.backends.iter();
        backends.any(|backend| backend.upstream == endpoint)
    });
    let names = routes.map(|route| format!("route `{}`", route.name));
    check_unused(&format!("service `{id}`"), names)
}

/// No key stands for the consumer, and no route admits it by name.
pub(crate) fn check_consumer_unused(name: &str, state: &State) -> Checked {
    let keys = state.api_keys.values().filter(|key| key.consumer == name);
    let routes = state.routes.values().filter(|route| match &route.auth {
        AuthPolicy::Public => false,
        AuthPolicy::ApiKey { consumers, .. } => consumers.iter().any(|c| c == name),
    });
    let names = keys
        .map(|key| format!("API key `{}`", key.id))
        .chain(routes.map(|route| format!("route `{}`", route.name)));
    check_unused(&format!("consumer `{name}`"), names)
}

/// Nobody of `users` needs `what` any more.
pub(crate) fn check_unused(what: &str, users: impl Iterator<Item = String>) -> Checked {
    let users: Vec<String> = users.collect();
    if users.is_empty() {
        return Ok(());
    }
    let mut shown = users[..users.len().min(NAMES_SHOWN)].join(", ");
    if users.len() > NAMES_SHOWN {
        shown.push_str(&format!(" and {} more", users.len() - NAMES_SHOWN));
    }
    let message = format!("the {what} is still needed by {shown}");
    let mut diagnostic = refuse(codes::store::STILL_REFERENCED, message);
    diagnostic.hints.push("remove what needs it first".into());
    Err(diagnostic)
}

fn unknown(code: Code, message: String, name: &str, known: &[String]) -> Box<Diagnostic> {
    let mut diagnostic = refuse(code, message);
    let known = known.iter().map(String::as_str);
    if let Some(close) = did_you_mean(name, known) {
        diagnostic.hints.push(format!("did you mean `{close}`"));
    }
    diagnostic
}
