//! Edits of a snapshot that no program asks for: forgetting, renaming and marking
//! resources. Pure; whoever calls them writes the result, after [`crate::integrity::check`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{ResourceState, Snapshot, Urn};

use crate::integrity::references;
use crate::references::rename as rename_references;

/// Why an edit was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A protected resource would be forgotten.
    #[error("`{urn}` is protected")]
    Protected {
        /// The resource.
        urn: Urn,
    },
    /// Something that stays refers to what would go.
    #[error("`{urn}` is needed by `{dependent}`")]
    Needed {
        /// The resource.
        urn: Urn,
        /// The first that needs it.
        dependent: Urn,
    },
    /// The new URN is taken.
    #[error("`{urn}` is in the state already")]
    Taken {
        /// The URN.
        urn: Urn,
    },
}

/// What may be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Protected resources too.
    pub protected: bool,
    /// What depends on them goes along.
    pub dependents: bool,
}

/// Forgets every entry of `urns`, and operations under way on them. The resources themselves
/// stay as they are. Returns what went, in state order.
pub fn delete(
    snapshot: &mut Snapshot,
    urns: &HashSet<Urn>,
    options: DeleteOptions,
) -> Result<Vec<Urn>, EditError> {
    let mut gone = urns.clone();
    let mut going = vec![false; snapshot.resources.len()];
    for (index, state) in snapshot.resources.iter().enumerate() {
        let Some(urn) = &state.urn else { continue };
        // Entries come after what they refer to, so one pass finds dependents of dependents.
        let needs = references(state)
            .map(|(to, _)| to)
            .find(|to| gone.contains(to));
        if !gone.contains(urn) {
            let Some(needs) = needs else { continue };
            if !options.dependents {
                return Err(EditError::Needed {
                    urn: needs,
                    dependent: urn.clone(),
                });
            }
            gone.insert(urn.clone());
        }
        if state.protect && !options.protected {
            return Err(EditError::Protected { urn: urn.clone() });
        }
        going[index] = true;
    }
    let mut removed = Vec::new();
    let entries = std::mem::take(&mut snapshot.resources);
    for (state, going) in entries.into_iter().zip(going) {
        if going {
            removed.extend(state.urn.clone());
        } else {
            snapshot.resources.push(state);
        }
    }
    snapshot.pending.retain(|operation| {
        let urn = operation.resource.urn.as_ref();
        urn.is_none_or(|urn| !gone.contains(urn))
    });
    removed.dedup();
    Ok(removed)
}

/// Gives resources other URNs. References follow, in operations under way too.
pub fn rename(snapshot: &mut Snapshot, renames: &HashMap<Urn, Urn>) -> Result<(), EditError> {
    let entries = snapshot.resources.iter();
    let mut taken: HashSet<&Urn> = entries
        .filter_map(|state| state.urn.as_ref())
        .filter(|urn| !renames.contains_key(*urn))
        .collect();
    for (old, new) in renames {
        if old != new && !taken.insert(new) {
            return Err(EditError::Taken { urn: new.clone() });
        }
    }
    let follow = |state: &Arc<ResourceState>| {
        let mut state = rename_references(state, renames);
        if let Some(new) = state.urn.as_ref().and_then(|urn| renames.get(urn)) {
            Arc::make_mut(&mut state).urn = Some(new.clone());
        }
        state
    };
    for state in &mut snapshot.resources {
        *state = follow(state);
    }
    for operation in &mut snapshot.pending {
        operation.resource = follow(&operation.resource);
    }
    Ok(())
}

/// The URN of `urn` under another name.
pub fn with_name(urn: &Urn, name: &str) -> Option<Urn> {
    rebuilt(urn, urn.project(), urn.stack(), name)
}

/// The URN of `urn` in another stack. The root's name follows, because it holds the stack's.
pub fn with_stack(urn: &Urn, project: &str, stack: &str) -> Option<Urn> {
    match urn.type_token() {
        STACK_TYPE => rebuilt(urn, project, stack, &format!("{project}-{stack}")),
        _ => rebuilt(urn, project, stack, urn.name()),
    }
}

/// The URN of the same types in another place.
fn rebuilt(urn: &Urn, project: &str, stack: &str, name: &str) -> Option<Urn> {
    let kind = urn.qualified_type();
    Urn::parse(&format!("urn:pulumi:{stack}::{project}::{kind}::{name}")).ok()
}

/// Renames everything in a snapshot for a stack that is called `stack` now.
pub fn rename_stack(snapshot: &mut Snapshot, project: &str, stack: &str) -> Result<(), EditError> {
    let entries = snapshot.resources.iter();
    let pending = snapshot.pending.iter().map(|operation| &operation.resource);
    let renames = entries
        .chain(pending)
        .filter_map(|state| state.urn.clone())
        .filter_map(|urn| Some((urn.clone(), with_stack(&urn, project, stack)?)))
        .collect();
    rename(snapshot, &renames)
}

/// A mark that a resource carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// May not be deleted, or may again.
    Protect(bool),
    /// To be replaced at the next occasion, or not.
    Taint(bool),
}

/// Sets a mark on live entries of `urns`; the ones that did not have it, in state order.
pub fn mark(snapshot: &mut Snapshot, urns: &HashSet<Urn>, mark: Mark) -> Vec<Urn> {
    let mut changed = Vec::new();
    for state in &mut snapshot.resources {
        let Some(urn) = state.urn.clone().filter(|urn| urns.contains(urn)) else {
            continue;
        };
        let now = match mark {
            Mark::Protect(_) => state.protect,
            Mark::Taint(_) => state.taint,
        };
        let (Mark::Protect(wanted) | Mark::Taint(wanted)) = mark;
        if state.delete || now == wanted {
            continue;
        }
        let state = Arc::make_mut(state);
        match mark {
            Mark::Protect(wanted) => state.protect = wanted,
            Mark::Taint(wanted) => state.taint = wanted,
        }
        changed.push(urn);
    }
    changed
}

#[cfg(test)]
mod tests;
