//! Use cases of routes, consumers and API keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, Secret, codes};
use lockgate_model::Origin;
use lockgate_model::gateway::{ApiKeySpec, ConsumerSpec, PathMatch, RouteSpec};
use lockgate_model::service::ServiceId;
use lockgate_store::Change;

use crate::check::{
    check_consumer_known, check_consumer_unused, check_name, check_room, check_route,
    check_route_references, refuse,
};
use crate::origin;
use crate::state::swap_entry;
use crate::{Caller, ControlError, Shared};

/// A route as it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteStatus {
    /// What is published.
    pub spec: RouteSpec,
    /// Where a client reaches it: the gateway's URL, or the route's first plain host with the
    /// gateway's port, and the first plain path.
    pub url: String,
}

/// An API key to be made valid.
#[derive(Clone, Debug)]
pub struct ApiKeyRequest {
    /// Consumer it stands for.
    pub consumer: String,
    /// The whole text. Only its keyed hash is kept.
    pub key: Secret<String>,
    /// Refused when false.
    pub enabled: bool,
}

impl Shared {
    pub(crate) async fn apply_route(
        self: Arc<Self>,
        caller: Caller,
        mut route: RouteSpec,
    ) -> Result<RouteStatus, ControlError> {
        check_route(&route).map_err(ControlError::Invalid)?;
        let mut resolved = BTreeMap::new();
        for backend in &mut route.backends {
            if ServiceId::from_endpoint(&backend.upstream).is_none() {
                let origin = origin::parse(&backend.upstream).map_err(ControlError::Invalid)?;
                let name = origin.to_string();
                resolved.insert(name.clone(), resolve(&origin).await?);
                backend.upstream = name;
            }
        }
        let status = RouteStatus {
            url: route_url(&self.gateway_url, &route),
            spec: route,
        };
        if self.state.lock().routes.get(&status.spec.name) == Some(&status.spec) {
            return Ok(status);
        }
        let route = &status.spec;
        let mut slot = Some(route.clone());
        self.commit(
            &caller,
            &Change::PutRoute(Box::new(route.clone())),
            |state| check_route_references(route, state),
            ControlError::NotFound,
            |state| {
                swap_entry(&mut state.routes, &route.name, &mut slot);
                state.addresses.append(&mut resolved);
            },
        )
        .await?;
        Ok(status)
    }

    pub(crate) async fn remove_route(
        self: Arc<Self>,
        caller: Caller,
        name: String,
    ) -> Result<(), ControlError> {
        if !self.state.lock().routes.contains_key(&name) {
            return Ok(());
        }
        let mut slot = None;
        self.commit(
            &caller,
            &Change::RemoveRoute(name.clone()),
            |_| Ok(()),
            ControlError::Conflict,
            |state| swap_entry(&mut state.routes, &name, &mut slot),
        )
        .await
    }

    pub(crate) fn find_route(&self, name: &str) -> Option<RouteStatus> {
        let spec = self.state.lock().routes.get(name)?.clone();
        Some(RouteStatus {
            url: route_url(&self.gateway_url, &spec),
            spec,
        })
    }

    pub(crate) async fn apply_consumer(
        self: Arc<Self>,
        caller: Caller,
        consumer: ConsumerSpec,
    ) -> Result<(), ControlError> {
        check_name("consumer", &consumer.name).map_err(ControlError::Invalid)?;
        if self.state.lock().consumers.contains_key(&consumer.name) {
            return Ok(());
        }
        let name = consumer.name.clone();
        let mut slot = Some(consumer.clone());
        self.commit(
            &caller,
            &Change::PutConsumer(consumer),
            |state| check_room("consumer", state.consumers.len()),
            ControlError::Conflict,
            |state| swap_entry(&mut state.consumers, &name, &mut slot),
        )
        .await
    }

    pub(crate) async fn remove_consumer(
        self: Arc<Self>,
        caller: Caller,
        name: String,
    ) -> Result<(), ControlError> {
        if !self.state.lock().consumers.contains_key(&name) {
            return Ok(());
        }
        let mut slot = None;
        self.commit(
            &caller,
            &Change::RemoveConsumer(name.clone()),
            |state| check_consumer_unused(&name, state),
            ControlError::Conflict,
            |state| swap_entry(&mut state.consumers, &name, &mut slot),
        )
        .await
    }

    pub(crate) async fn apply_api_key(
        self: Arc<Self>,
        caller: Caller,
        request: ApiKeyRequest,
    ) -> Result<ApiKeySpec, ControlError> {
        let Some((id, _)) = ApiKeySpec::split(request.key.expose()) else {
            let message = "the key is not `lgk_`, 16 hex digits, `_` and 64 hex digits";
            let diagnostic = refuse(codes::store::BAD_API_KEY, message);
            return Err(ControlError::Invalid(diagnostic));
        };
        let key = ApiKeySpec {
            id: id.to_owned(),
            hash: self.node_key.hash_api_key(&request.key),
            consumer: request.consumer,
            enabled: request.enabled,
        };
        if self.state.lock().api_keys.get(&key.id) == Some(&key) {
            return Ok(key);
        }
        let mut slot = Some(key.clone());
        self.commit(
            &caller,
            &Change::PutApiKey(key.clone()),
            |state| {
                if !state.api_keys.contains_key(&key.id) {
                    check_room("API key", state.api_keys.len())?;
                }
                let who = format!("the API key `{}` stands for", key.id);
                check_consumer_known(&who, &key.consumer, state)
            },
            ControlError::NotFound,
            |state| swap_entry(&mut state.api_keys, &key.id, &mut slot),
        )
        .await?;
        Ok(key)
    }

    pub(crate) async fn remove_api_key(
        self: Arc<Self>,
        caller: Caller,
        id: String,
    ) -> Result<(), ControlError> {
        if !self.state.lock().api_keys.contains_key(&id) {
            return Ok(());
        }
        let mut slot = None;
        self.commit(
            &caller,
            &Change::RemoveApiKey(id.clone()),
            |_| Ok(()),
            ControlError::Conflict,
            |state| swap_entry(&mut state.api_keys, &id, &mut slot),
        )
        .await
    }

    /// Asks the resolver again for every URL that routes name and forgets the others. A name that
    /// stopped resolving keeps its last addresses: a resolver outage must not become ours.
    pub(crate) async fn refresh_addresses(&self) {
        let names = self.state.lock().origins();
        let lookups = names.iter().map(|name| async move {
            match origin::parse(name) {
                Ok(origin) => (name, origin::resolve(&origin).await),
                Err(diagnostic) => (name, Err(diagnostic.message)),
            }
        });
        let found = futures_util::future::join_all(lookups).await;
        let mut state = self.state.lock();
        for (name, found) in found {
            match found {
                Ok(addresses) => {
                    state.addresses.insert(name.clone(), addresses);
                }
                Err(cause) => {
                    tracing::warn!(upstream = %name, %cause, "backend host does not resolve");
                }
            }
        }
        let named = state.origins();
        state.addresses.retain(|name, _| named.contains(name));
    }
}

/// The addresses of an origin; it must have one before anything is published.
pub(crate) async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, ControlError> {
    origin::resolve(origin).await.map_err(|cause| {
        let message = format!("the backend `{origin}` has no address");
        let diagnostic = Diagnostic::error(codes::store::UNRESOLVED_HOST, message);
        ControlError::NotFound(Box::new(diagnostic.cause(cause)))
    })
}

fn route_url(gateway_url: &str, route: &RouteSpec) -> String {
    let path = route.matches.paths.iter().find_map(|path| match path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => Some(path.as_str()),
        PathMatch::Regex(_) => None,
    });
    let path = path.unwrap_or("/");
    let plain = route.matches.hosts.iter().find(|host| !host.contains('*'));
    let (scheme, authority) = gateway_url
        .split_once("://")
        .unwrap_or(("http", gateway_url));
    match (plain, authority.rsplit_once(':')) {
        (None, _) => format!("{gateway_url}{path}"),
        (Some(host), Some((_, port))) => format!("{scheme}://{host}:{port}{path}"),
        (Some(host), None) => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests;
