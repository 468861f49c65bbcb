//! A step's differences, property by property: name, old and new, secrets masked.

use std::collections::BTreeSet;

use lockgate_engine::event::StepEvent;
use lockgate_engine::provider::DiffKind;
use lockgate_model::{PropertyMap, StepOp, Value};

/// Longest value printed on one line; longer ones are cut unless everything is asked for.
const VALUE_CHARS_MAX: usize = 120;

/// One line per difference: a sign, the property's path, and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiffLine {
    /// `+`, `-`, `~`, or `±` for a change that replaces.
    pub(crate) sign: char,
    /// Property path.
    pub(crate) path: String,
    /// `new`, or `old => new`.
    pub(crate) text: String,
}

/// The differences of a step. With `verbose`, values are whole and creations list every input.
pub(crate) fn lines(step: &StepEvent, verbose: bool) -> Vec<DiffLine> {
    let empty = PropertyMap::new();
    let old = step.old.as_ref().map_or(&empty, |s| &s.inputs);
    let new = step.new.as_ref().map_or(&empty, |s| &s.inputs);
    let hidden: BTreeSet<&str> = step
        .new
        .iter()
        .flat_map(|s| s.hide_diffs.iter().map(String::as_str))
        .collect();
    let mut out = Vec::new();
    match step.op {
        StepOp::Create | StepOp::Import | StepOp::Read => {
            for (name, value) in new {
                push(&mut out, '+', name, None, Some(value), verbose);
            }
        }
        StepOp::Update
        | StepOp::Replace
        | StepOp::CreateReplacement
        | StepOp::ImportReplacement
        | StepOp::Refresh => match &step.detailed_diff {
            Some(detail) if !detail.is_empty() => detailed(&mut out, step, verbose),
            _ => structural(&mut out, "", old, new, verbose),
        },
        _ => {}
    }
    out.retain(|line| {
        let top = line.path.split(['.', '[']).next().unwrap_or_default();
        !hidden.contains(top) && !top.starts_with("__")
    });
    out
}

fn detailed(out: &mut Vec<DiffLine>, step: &StepEvent, verbose: bool) {
    let Some(detail) = &step.detailed_diff else {
        return;
    };
    for (path, diff) in detail {
        let side = |state: &Option<lockgate_engine::event::StepState>, inputs: bool| {
            let state = state.as_ref()?;
            find(
                if inputs {
                    &state.inputs
                } else {
                    &state.outputs
                },
                path,
            )
            .cloned()
        };
        let old = side(&step.old, true).or_else(|| side(&step.old, false));
        let new = side(&step.new, true);
        let sign = match diff.kind {
            DiffKind::Add => '+',
            DiffKind::Delete => '-',
            DiffKind::Update => '~',
            DiffKind::AddReplace | DiffKind::DeleteReplace | DiffKind::UpdateReplace => '±',
        };
        push(out, sign, path, old.as_ref(), new.as_ref(), verbose);
    }
}

fn structural(
    out: &mut Vec<DiffLine>,
    prefix: &str,
    old: &PropertyMap,
    new: &PropertyMap,
    verbose: bool,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match (old.get(name), new.get(name)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(Value::Map(a)), Some(Value::Map(b))) => structural(out, &path, a, b, verbose),
            (Some(a), Some(b)) => push(out, '~', &path, Some(a), Some(b), verbose),
            (Some(a), None) => push(out, '-', &path, Some(a), None, verbose),
            (None, Some(b)) => push(out, '+', &path, None, Some(b), verbose),
            (None, None) => {}
        }
    }
}

fn push(
    out: &mut Vec<DiffLine>,
    sign: char,
    path: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    verbose: bool,
) {
    let show = |value: &Value| short(&render(value), verbose);
    let text = match (old, new) {
        (Some(a), Some(b)) => format!("{} => {}", show(a), show(b)),
        (Some(a), None) => show(a),
        (None, Some(b)) => show(b),
        (None, None) => String::new(),
    };
    out.push(DiffLine {
        sign,
        path: path.to_owned(),
        text,
    });
}

/// A value as one line of JSON-like text; secrets and unknowns by their marks.
pub(crate) fn render(value: &Value) -> String {
    match value {
        Value::Asset(asset) => format!("asset {}", hash_of(asset.hash.as_deref())),
        Value::Archive(archive) => format!("archive {}", hash_of(archive.hash.as_deref())),
        Value::List(items) => {
            format!(
                "[{}]",
                items.iter().map(render).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Map(map) => format!(
            "{{{}}}",
            map.iter()
                .map(|(k, v)| format!("{k}: {}", render(v)))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        other => format!("{other:?}"),
    }
}

fn hash_of(hash: Option<&str>) -> String {
    hash.map_or_else(
        || "of unknown content".to_owned(),
        |h| h.chars().take(12).collect(),
    )
}

fn short(text: &str, verbose: bool) -> String {
    let cut = text.char_indices().nth(VALUE_CHARS_MAX);
    match cut {
        Some((at, _)) if !verbose => {
            format!("{}… ({} more)", &text[..at], text[at..].chars().count())
        }
        _ => text.to_owned(),
    }
}

/// The value at a property path such as `env["A"].b[0]`.
fn find<'a>(map: &'a PropertyMap, path: &str) -> Option<&'a Value> {
    let mut parts = split(path).into_iter();
    let mut value = map.get(&parts.next()?)?;
    for part in parts {
        value = match value.unsecret() {
            Value::Map(map) => map.get(&part)?,
            Value::List(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn split(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("[\"") {
            let end = tail.find("\"]").unwrap_or(tail.len());
            parts.push(tail[..end].to_owned());
            rest = tail.get(end + 2..).unwrap_or_default();
        } else if let Some(tail) = rest.strip_prefix('[') {
            let end = tail.find(']').unwrap_or(tail.len());
            parts.push(tail[..end].to_owned());
            rest = tail.get(end + 1..).unwrap_or_default();
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            parts.push(tail[..end].to_owned());
            rest = &tail[end..];
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_dots_keys_and_indices() {
        assert_eq!(split("env[\"A.b\"].c[0]"), ["env", "A.b", "c", "0"]);
        let inner: PropertyMap = [("A.b".to_owned(), Value::from("v"))].into();
        let map: PropertyMap = [("env".to_owned(), Value::Map(inner))].into();
        assert_eq!(find(&map, "env[\"A.b\"]"), Some(&Value::from("v")));
    }

    #[test]
    fn long_values_are_cut_on_character_borders() {
        let text = "ä".repeat(VALUE_CHARS_MAX + 5);
        assert!(short(&text, false).ends_with("… (5 more)"));
        assert_eq!(short(&text, true), text);
    }
}
