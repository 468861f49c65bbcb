//! What makes a snapshot valid (engine guide, section 13.2). Checked before a run, after it, and
//! by whoever loads or saves a state.

use std::collections::HashSet;

use lockgate_model::{ResourceState, Snapshot, Urn};

/// One way in which a snapshot is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityError {
    /// An entry has no URN.
    #[error("entry {index} has no URN")]
    NoUrn {
        /// Position in the list.
        index: usize,
    },
    /// A component has an id.
    #[error("`{urn}` is a component but has an id")]
    ComponentId {
        /// The entry.
        urn: Urn,
    },
    /// A provider reference is malformed.
    #[error("`{urn}` has the malformed provider reference `{reference}`")]
    ProviderReference {
        /// The entry.
        urn: Urn,
        /// Its reference.
        reference: String,
    },
    /// Something referred to is missing or comes later.
    #[error("`{urn}` refers to `{target}` as its {role}, which does not come before it")]
    Order {
        /// The entry.
        urn: Urn,
        /// What it refers to.
        target: Urn,
        /// `parent`, `dependency`, `provider` or `deletedWith`.
        role: &'static str,
    },
    /// Two live entries have one URN.
    #[error("`{urn}` has two entries that are not waiting for deletion")]
    Duplicate {
        /// The URN.
        urn: Urn,
    },
}

/// Splits `<urn>::<id>` of a provider reference.
pub fn split_provider_reference(reference: &str) -> Option<(Urn, &str)> {
    let (urn, id) = reference.rsplit_once("::")?;
    Some((Urn::parse(urn).ok()?, id))
}

/// Everything an entry refers to, with the role of each.
pub(crate) fn references(state: &ResourceState) -> impl Iterator<Item = (Urn, &'static str)> + '_ {
    let provider = split_provider_reference(&state.provider)
        .filter(|_| !state.pending_replacement)
        .map(|(urn, _)| urn);
    state
        .parent
        .iter()
        .map(|urn| (urn.clone(), "parent"))
        .chain(provider.map(|urn| (urn, "provider")))
        .chain(
            state
                .dependencies
                .iter()
                .map(|urn| (urn.clone(), "dependency")),
        )
        .chain(
            state
                .property_dependencies
                .values()
                .flatten()
                .map(|urn| (urn.clone(), "dependency")),
        )
        .chain(
            state
                .deleted_with
                .iter()
                .map(|urn| (urn.clone(), "deletedWith")),
        )
}

/// Checks a snapshot; every fault is named.
pub fn check(snapshot: &Snapshot) -> Result<(), Vec<IntegrityError>> {
    let mut errors = Vec::new();
    let mut seen: HashSet<&Urn> = HashSet::with_capacity(snapshot.resources.len());
    let mut live: HashSet<&Urn> = HashSet::with_capacity(snapshot.resources.len());
    for (index, state) in snapshot.resources.iter().enumerate() {
        let Some(urn) = &state.urn else {
            errors.push(IntegrityError::NoUrn { index });
            continue;
        };
        if !state.custom && !state.id.is_empty() {
            errors.push(IntegrityError::ComponentId { urn: urn.clone() });
        }
        if !state.provider.is_empty() && split_provider_reference(&state.provider).is_none() {
            errors.push(IntegrityError::ProviderReference {
                urn: urn.clone(),
                reference: state.provider.clone(),
            });
        }
        for (target, role) in references(state) {
            if !seen.contains(&target) {
                errors.push(IntegrityError::Order {
                    urn: urn.clone(),
                    target,
                    role,
                });
            }
        }
        seen.insert(urn);
        if !state.delete && !live.insert(urn) {
            errors.push(IntegrityError::Duplicate { urn: urn.clone() });
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests;
