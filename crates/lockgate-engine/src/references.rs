//! Rewrites the references of a state entry: renamed resources, and resources that are gone.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_model::{ResourceState, Urn};

use crate::integrity::{references, split_provider_reference};

/// The entry with every reference to a renamed resource following it. Shares the entry when
/// nothing changes.
pub(crate) fn rename(
    state: &Arc<ResourceState>,
    renames: &HashMap<Urn, Urn>,
) -> Arc<ResourceState> {
    if renames.is_empty() || !references(state).any(|(urn, _)| renames.contains_key(&urn)) {
        return Arc::clone(state);
    }
    let mut renamed = (**state).clone();
    rewrite(&mut renamed, &|urn| {
        Some(renames.get(urn).unwrap_or(urn).clone())
    });
    Arc::new(renamed)
}

/// Drops references to resources for which `exists` is false. True when something was dropped.
pub(crate) fn retain(state: &mut ResourceState, exists: &dyn Fn(&Urn) -> bool) -> bool {
    if references(state).all(|(urn, _)| exists(&urn)) {
        return false;
    }
    rewrite(state, &|urn| exists(urn).then(|| urn.clone()));
    true
}

fn rewrite(state: &mut ResourceState, map: &dyn Fn(&Urn) -> Option<Urn>) {
    state.parent = state.parent.as_ref().and_then(map);
    state.deleted_with = state.deleted_with.as_ref().and_then(map);
    state.dependencies = state.dependencies.iter().filter_map(map).collect();
    state.replace_with = state.replace_with.iter().filter_map(map).collect();
    for urns in state.property_dependencies.values_mut() {
        *urns = urns.iter().filter_map(map).collect();
    }
    let moved = split_provider_reference(&state.provider)
        .and_then(|(urn, id)| Some(format!("{}::{id}", map(&urn)?)));
    if let Some(moved) = moved {
        state.provider = moved;
    }
}
