//! Property paths: `a.b[0]["c-d"].*`, as `ignoreChanges` and detailed diffs write them.

use std::fmt;

use lockgate_model::{PropertyMap, Value};

/// Deepest path that is accepted; values nest no deeper on the wire.
const DEPTH_MAX: usize = 500;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// An index of a list.
    Index(usize),
    /// Every key or index.
    Any,
}

/// A path into the properties of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PropertyPath(pub Vec<Segment>);

/// A text that is no property path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a property path, expected a form like a.b[0][\"c\"]")]
pub struct ParsePathError(pub String);

impl PropertyPath {
    /// Parses `a.b[0]["c"]`; `*` and `[*]` stand for every key or index.
    pub fn parse(text: &str) -> Result<Self, ParsePathError> {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (segment, after) =
                next_segment(rest).ok_or_else(|| ParsePathError(text.to_owned()))?;
            segments.push(segment);
            rest = after.strip_prefix('.').unwrap_or(after);
            if (after.starts_with('.') && rest.is_empty()) || segments.len() > DEPTH_MAX {
                return Err(ParsePathError(text.to_owned()));
            }
        }
        if segments.is_empty() {
            return Err(ParsePathError(text.to_owned()));
        }
        Ok(Self(segments))
    }

    /// Whether one of the two paths leads through the other, wildcards matching anything.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|pair| match pair {
            (Segment::Any, _) | (_, Segment::Any) => true,
            (a, b) => a == b,
        })
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for segment in &self.0 {
            push_segment(&mut text, segment);
        }
        f.write_str(&text)
    }
}

/// Appends one step to the text of a path.
pub(crate) fn push_segment(text: &mut String, segment: &Segment) {
    match segment {
        Segment::Key(key) if is_plain(key) => {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(key);
        }
        Segment::Key(key) => {
            text.push_str("[\"");
            text.push_str(&key.replace('\\', "\\\\").replace('"', "\\\""));
            text.push_str("\"]");
        }
        Segment::Index(index) => {
            text.push('[');
            text.push_str(&index.to_string());
            text.push(']');
        }
        Segment::Any => text.push_str("[*]"),
    }
}

fn is_plain(key: &str) -> bool {
    let mut chars = key.chars();
    chars
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_' || c == '$')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

fn next_segment(text: &str) -> Option<(Segment, &str)> {
    if let Some(inner) = text.strip_prefix("[\"") {
        return quoted(inner);
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (index, after) = inner.split_once(']')?;
        let segment = match index {
            "*" => Segment::Any,
            digits => Segment::Index(digits.parse().ok()?),
        };
        return Some((segment, after));
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (key, after) = text.split_at(end);
    match key {
        "" => None,
        "*" => Some((Segment::Any, after)),
        key => Some((Segment::Key(key.to_owned()), after)),
    }
}

fn quoted(inner: &str) -> Option<(Segment, &str)> {
    let mut key = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.push(chars.next()?.1),
            '"' => {
                let after = inner[at + 1..].strip_prefix(']')?;
                return Some((Segment::Key(key), after));
            }
            other => key.push(other),
        }
    }
    None
}

/// Copies what `old` has at `path` into `new`; what `old` lacks there is removed from `new`.
/// False when the two differ so much in shape that the path cannot be reset.
pub fn reset(path: &PropertyPath, old: &PropertyMap, new: &mut PropertyMap) -> bool {
    let [Segment::Key(first), rest @ ..] = path.0.as_slice() else {
        // A leading wildcard means every property.
        let keys: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
        return keys
            .iter()
            .all(|key| reset_key(key, &path.0[1..], old, new));
    };
    reset_key(first, rest, old, new)
}

fn reset_key(key: &str, rest: &[Segment], old: &PropertyMap, new: &mut PropertyMap) -> bool {
    let current = new.remove(key);
    let kept = current.clone();
    let (value, done) = match reset_value(rest, old.get(key), current) {
        Ok(value) => (value, true),
        Err(Unresettable) => (kept, false),
    };
    if let Some(value) = value {
        new.insert(key.to_owned(), value);
    }
    done
}

struct Unresettable;

fn reset_value(
    path: &[Segment],
    old: Option<&Value>,
    new: Option<Value>,
) -> Result<Option<Value>, Unresettable> {
    let Some((segment, rest)) = path.split_first() else {
        return Ok(old.cloned());
    };
    let old = old.map(Value::unsecret);
    match (new, old) {
        (Some(Value::Secret(inner)), old) => {
            let value = reset_value(path, old, Some(*inner))?;
            Ok(value.map(Value::into_secret))
        }
        (Some(Value::Map(mut map)), old) => {
            let empty = PropertyMap::new();
            let old = match old {
                Some(Value::Map(old)) => old,
                _ => &empty,
            };
            let keys: Vec<String> = match segment {
                Segment::Key(key) => vec![key.clone()],
                Segment::Any => old.keys().chain(map.keys()).cloned().collect(),
                Segment::Index(_) => return Err(Unresettable),
            };
            for key in keys {
                let current = map.remove(&key);
                if let Some(value) = reset_value(rest, old.get(&key), current)? {
                    map.insert(key, value);
                }
            }
            Ok(Some(Value::Map(map)))
        }
        (Some(Value::List(items)), Some(Value::List(old))) => {
            reset_list(segment, rest, old, items).map(Some)
        }
        (None, None) => Ok(None),
        _ => Err(Unresettable),
    }
}

fn reset_list(
    segment: &Segment,
    rest: &[Segment],
    old: &[Value],
    mut items: Vec<Value>,
) -> Result<Value, Unresettable> {
    let both = old.len().min(items.len());
    let range = match segment {
        Segment::Index(index) if *index < both => *index..*index + 1,
        Segment::Index(index) if *index >= old.len() && *index >= items.len() => 0..0,
        Segment::Any => 0..both,
        _ => return Err(Unresettable),
    };
    for index in range {
        let current = std::mem::take(&mut items[index]);
        items[index] = reset_value(rest, old.get(index), Some(current))?.unwrap_or_default();
    }
    Ok(Value::List(items))
}

#[cfg(test)]
mod tests;
