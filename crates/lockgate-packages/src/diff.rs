//! Old inputs against new ones: each difference by path, and whether it takes a replacement.

use lockgate_engine::diff::same;
use lockgate_engine::provider::{DiffChanges, DiffKind, DiffRequest, DiffResponse, PropertyDiff};
use lockgate_model::schema::{PropertyKind, PropertySchema};
use lockgate_model::{PropertyMap, Value};

use crate::check::Properties;
use crate::path::{index, member};

/// Compares inputs by `schema`.
///
/// A missing property equals its default, so that state written before a default was filled in
/// shows no difference. Secretness is no difference, an unknown always is. Names that start
/// with `__` are bookkeeping of other engines and are left out.
pub(crate) fn diff_inputs(schema: &Properties, req: &DiffRequest) -> DiffResponse {
    let mut found = Found::default();
    let old = filled(schema, &req.old_inputs);
    let new = filled(schema, &req.inputs);
    found.maps(Some(schema), &old, &new, "", Effect::Update);
    let changes = if found
        .response
        .detailed
        .as_ref()
        .is_none_or(|d| d.is_empty())
    {
        DiffChanges::None
    } else {
        DiffChanges::Some
    };
    found.response.changes = changes;
    found.response
}

fn filled(schema: &Properties, inputs: &PropertyMap) -> PropertyMap {
    let defaults = schema.iter().filter_map(|(name, property)| {
        let value = property.constant.as_ref().or(property.default.as_ref())?;
        Some((name.clone(), value.clone()))
    });
    let given = inputs
        .iter()
        .filter(|(name, value)| !name.starts_with("__") && !matches!(value, Value::Null))
        .map(|(name, value)| (name.clone(), value.clone()));
    defaults.chain(given).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Update,
    Replace,
}

#[derive(Default)]
struct Found {
    response: DiffResponse,
}

impl Found {
    fn add(&mut self, path: &str, effect: Effect, update: DiffKind, replace: DiffKind) {
        let kind = match effect {
            Effect::Update => update,
            Effect::Replace => {
                // The engine wants top-level names of what forces a replacement.
                let top = path.split(['.', '[']).next().unwrap_or(path).to_owned();
                if !self.response.replaces.contains(&top) {
                    self.response.replaces.push(top);
                }
                replace
            }
        };
        let difference = PropertyDiff { kind, input: true };
        let detailed = self.response.detailed.get_or_insert_default();
        detailed.insert(path.to_owned(), difference);
    }

    fn maps(
        &mut self,
        schema: Option<&Properties>,
        old: &PropertyMap,
        new: &PropertyMap,
        path: &str,
        effect: Effect,
    ) {
        let only_new = new.keys().filter(|name| !old.contains_key(*name));
        for name in old.keys().chain(only_new) {
            let property = schema.and_then(|s| s.get(name));
            let effect = match property {
                Some(p) if p.replace_on_changes => Effect::Replace,
                _ => effect,
            };
            let path = member(path, name);
            match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => self.values(property, old, new, &path, effect),
                (Some(_), None) => {
                    self.add(&path, effect, DiffKind::Delete, DiffKind::DeleteReplace);
                }
                (None, _) => self.add(&path, effect, DiffKind::Add, DiffKind::AddReplace),
            }
        }
    }

    fn values(
        &mut self,
        property: Option<&PropertySchema>,
        old: &Value,
        new: &Value,
        path: &str,
        effect: Effect,
    ) {
        match (old.unsecret(), new.unsecret()) {
            (Value::Map(old), Value::Map(new)) => {
                let schema = match property.map(|p| &p.kind) {
                    Some(PropertyKind::Object(schema)) => Some(schema),
                    _ => None,
                };
                let fill = |map| schema.map_or_else(|| PropertyMap::clone(map), |s| filled(s, map));
                self.maps(schema, &fill(old), &fill(new), path, effect);
            }
            (Value::List(old), Value::List(new)) => self.lists(old, new, path, effect),
            (old, new) if same(old, new) => {}
            _ => self.add(path, effect, DiffKind::Update, DiffKind::UpdateReplace),
        }
    }

    fn lists(&mut self, old: &[Value], new: &[Value], path: &str, effect: Effect) {
        for item in 0..old.len().max(new.len()) {
            let path = index(path, item);
            match (old.get(item), new.get(item)) {
                (Some(old), Some(new)) => self.values(None, old, new, &path, effect),
                (Some(_), None) => {
                    self.add(&path, effect, DiffKind::Delete, DiffKind::DeleteReplace);
                }
                (None, _) => self.add(&path, effect, DiffKind::Add, DiffKind::AddReplace),
            }
        }
    }
}
