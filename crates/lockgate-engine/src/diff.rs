//! Structural comparison of property maps: what the engine shows and decides on when a provider
//! cannot say.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{PropertyMap, Value};

use crate::path::{PropertyPath, Segment, push_segment};
use crate::provider::{DiffKind, PropertyDiff};

/// Bookkeeping that some providers keep among the properties; no one wants to see it differ.
const HIDDEN_KEY: &str = "__defaults";

/// Differences by property path. Secrets are compared by value; an unknown counts as changed.
pub fn compare(old: &PropertyMap, new: &PropertyMap) -> BTreeMap<String, PropertyDiff> {
    let mut found = BTreeMap::new();
    compare_maps(&mut String::new(), old, new, &mut found);
    found
}

/// Whether two values are the same to a provider: secrets looked through, assets by content.
pub fn same(old: &Value, new: &Value) -> bool {
    match (old.unsecret(), new.unsecret()) {
        (Value::Unknown, _) | (_, Value::Unknown) => false,
        (Value::Asset(a), Value::Asset(b)) if a.hash.is_some() && b.hash.is_some() => {
            a.hash == b.hash
        }
        (Value::Archive(a), Value::Archive(b)) if a.hash.is_some() && b.hash.is_some() => {
            a.hash == b.hash
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => same_maps(a, b),
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// [`same`] for whole property maps.
pub fn same_maps(old: &PropertyMap, new: &PropertyMap) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|((a_key, a), (b_key, b))| a_key == b_key && same(a, b))
}

fn compare_maps(
    path: &mut String,
    old: &PropertyMap,
    new: &PropertyMap,
    found: &mut BTreeMap<String, PropertyDiff>,
) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys.into_iter().filter(|key| *key != HIDDEN_KEY) {
        let before = path.len();
        push_segment(path, &Segment::Key(key.clone()));
        compare_values(path, old.get(key), new.get(key), found);
        path.truncate(before);
    }
}

fn compare_values(
    path: &mut String,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut BTreeMap<String, PropertyDiff>,
) {
    let kind = match (old, new) {
        (None, None) => return,
        (None, Some(_)) => DiffKind::Add,
        (Some(_), None) => DiffKind::Delete,
        (Some(old), Some(new)) => match (old.unsecret(), new.unsecret()) {
            (old, new) if same(old, new) => return,
            (Value::Map(old), Value::Map(new)) => {
                return compare_maps(path, old, new, found);
            }
            (Value::List(old), Value::List(new)) => {
                for index in 0..old.len().max(new.len()) {
                    let before = path.len();
                    push_segment(path, &Segment::Index(index));
                    compare_values(path, old.get(index), new.get(index), found);
                    path.truncate(before);
                }
                return;
            }
            _ => DiffKind::Update,
        },
    };
    found.insert(path.clone(), PropertyDiff { kind, input: true });
}

/// The same difference, carried out by a replacement.
pub fn as_replace(kind: DiffKind) -> DiffKind {
    match kind {
        DiffKind::Add | DiffKind::AddReplace => DiffKind::AddReplace,
        DiffKind::Delete | DiffKind::DeleteReplace => DiffKind::DeleteReplace,
        DiffKind::Update | DiffKind::UpdateReplace => DiffKind::UpdateReplace,
    }
}

/// Turns differences under one of `paths` into replacing ones; gives their paths.
pub fn mark_replaces(
    detailed: &mut BTreeMap<String, PropertyDiff>,
    paths: &[String],
) -> Vec<String> {
    let wanted: Vec<PropertyPath> = paths
        .iter()
        .filter_map(|path| PropertyPath::parse(path).ok())
        .collect();
    let mut marked = Vec::new();
    for (path, diff) in detailed {
        let hit = PropertyPath::parse(path)
            .is_ok_and(|path| wanted.iter().any(|wanted| wanted.overlaps(&path)));
        if hit {
            diff.kind = as_replace(diff.kind);
            marked.push(path.clone());
        }
    }
    marked
}

#[cfg(test)]
mod tests;
