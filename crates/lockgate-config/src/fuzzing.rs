//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, Renderer, SourceFile, Span};
use lockgate_model::Value;

use crate::lock::Lock;
use crate::project::{parse_project, to_value};
use crate::settings::NodeSettings;
use crate::stack::{ConfigValue, StackConfig};
use crate::yaml::{Kind, Node, parse};

/// Any text becomes a tree or mistakes; every place lies in the file, children in their parents,
/// and plain JSON means the same.
pub fn tree(bytes: &[u8]) {
    let Some(file) = source(bytes) else {
        return;
    };
    let (tree, found) = parse(&file);
    assert_places(&found, &file);
    if let Some(tree) = &tree {
        assert_tree(tree, tree.span, &file.text);
    }
    assert!(tree.is_some() || found.iter().any(Diagnostic::is_error));
    if let Some(expected) = plain_json(&file.text) {
        let tree = tree.expect("JSON is YAML");
        assert!(found.iter().all(|d| !d.is_error()), "{found:?}");
        assert_eq!(to_value(&tree), expected);
    }
}

/// Any text is a project or mistakes, at places in the file.
pub fn project(bytes: &[u8]) {
    if let Some(file) = source(bytes) {
        let (project, found) = parse_project(&file, PathBuf::from("/project"));
        assert!(project.is_some() || found.iter().any(Diagnostic::is_error));
        assert_places(&found, &file);
    }
}

/// Any text is node settings or mistakes, at places in the file.
pub fn settings(bytes: &[u8]) {
    if let Some(file) = source(bytes) {
        let (settings, found) = NodeSettings::parse(&file);
        assert!(settings.is_some() || found.iter().any(Diagnostic::is_error));
        assert_places(&found, &file);
    }
}

/// A lock that reads is written so that it reads the same.
pub fn lock(bytes: &[u8]) {
    let Some(file) = source(bytes) else {
        return;
    };
    let (lock, found) = Lock::parse(&file);
    assert_places(&found, &file);
    let Some(lock) = lock else {
        assert!(found.iter().any(Diagnostic::is_error));
        return;
    };
    let text = lock.render();
    let (again, found) = Lock::parse(&SourceFile::new("lockgate.lock", text.clone()));
    assert_eq!(again.as_ref(), Some(&lock), "{text}\n{found:?}");
    assert_eq!(again.map(|l| l.render()).as_ref(), Some(&text), "stable");
}

/// A stack file that reads can be edited: what is set is there, what is removed is not, and the
/// rest is as it was. The bytes before the first NUL say what is edited.
pub fn stack(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|b| *b == 0) else {
        return;
    };
    let Some(file) = source(&bytes[end + 1..]) else {
        return;
    };
    let (stack, found) = StackConfig::parse(&file);
    assert_places(&found, &file);
    // A file with mistakes is not edited.
    let Some(mut stack) = stack.filter(|_| !found.iter().any(Diagnostic::is_error)) else {
        return;
    };
    let before = stack.clone();
    let mut edit = Edit(&bytes[..end]);
    let key = match before.values.keys().next() {
        Some(known) if edit.byte() & 1 == 0 => known.clone(),
        _ => edit.text(),
    };
    let value = edit.value(0);
    // A layout that an edit does not understand is refused, and nothing is changed.
    if stack.set(&key, value.clone()).is_err() {
        assert_eq!(stack.file.text, before.file.text);
        return;
    }
    let mut expected = before.values.clone();
    expected.insert(key.clone(), value);
    assert_eq!(stack.values, expected, "{}", stack.file.text);
    assert_same_rest(&before, &stack);
    if !before.values.contains_key(&key) {
        assert_same_comments(&before, &stack);
    }
    assert_eq!(stack.set(&key, expected[&key].clone()).ok(), Some(()));
    if stack.remove(&key).is_ok() {
        expected.remove(&key);
        assert_eq!(stack.values, expected, "{}", stack.file.text);
        assert_same_rest(&before, &stack);
    }
}

fn assert_same_rest(before: &StackConfig, after: &StackConfig) {
    assert_eq!(after.encryption_salt, before.encryption_salt);
    assert_eq!(after.secrets_provider, before.secrets_provider);
    assert_eq!(after.encrypted_key, before.encrypted_key);
}

/// A further key costs no comment; what replaces a value, or goes, takes those inside it along.
fn assert_same_comments(before: &StackConfig, after: &StackConfig) {
    let comments = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|l| l.starts_with("# "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let kept = comments(&after.file.text);
    for comment in comments(&before.file.text) {
        assert!(kept.contains(&comment), "{comment} is lost");
    }
}

/// Values from bytes.
struct Edit<'b>(&'b [u8]);

impl Edit<'_> {
    fn byte(&mut self) -> u8 {
        let first = self.0.first().copied().unwrap_or(0);
        self.0 = self.0.get(1..).unwrap_or_default();
        first
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 9).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn value(&mut self, depth: u32) -> ConfigValue {
        match self.byte() % if depth < 4 { 6 } else { 4 } {
            0 => ConfigValue::Plain(Value::Bool(self.byte() & 1 != 0)),
            1 => ConfigValue::Plain(Value::Number(f64::from(self.byte()) / 4.0)),
            2 => ConfigValue::Secure(self.text()),
            3 => ConfigValue::Plain(Value::String(self.text())),
            4 => ConfigValue::List(
                (0..self.byte() % 4)
                    .map(|_| self.value(depth + 1))
                    .collect(),
            ),
            _ => {
                let entries = (0..self.byte() % 4).map(|_| (self.text(), self.value(depth + 1)));
                ConfigValue::Map(entries.collect::<BTreeMap<_, _>>())
            }
        }
    }
}

fn source(bytes: &[u8]) -> Option<Arc<SourceFile>> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(SourceFile::new("file.yaml", text))
}

/// A mistake at the end of the file is marked one past it; the renderer clamps.
fn assert_places(found: &[Diagnostic], file: &SourceFile) {
    let length = file.text.len() as u32;
    for label in found.iter().flat_map(|d| &d.labels) {
        let Span { start, end } = label.span;
        assert!(
            start <= end && end <= length + 1,
            "{:?} of {length}",
            label.span
        );
        for place in [start, end] {
            let place = place.min(length) as usize;
            assert!(file.text.is_char_boundary(place), "{:?}", label.span);
        }
    }
    Renderer::default().render_all(found);
}

fn assert_tree(node: &Node<'_>, within: Span, text: &str) {
    let Span { start, end } = node.span;
    assert!(
        start <= end && end as usize <= text.len(),
        "{:?}",
        node.span
    );
    assert!(text.is_char_boundary(start as usize) && text.is_char_boundary(end as usize));
    assert!(
        within.start <= start && end <= within.end,
        "{within:?} {:?}",
        node.span
    );
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|n| assert_tree(n, node.span, text)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                assert_tree(key, node.span, text);
                assert_tree(value, node.span, text);
            }
        }
        _ => {}
    }
}

/// The value of a JSON text that no reader of YAML may take differently: no escapes, no repeated
/// keys, no numbers that are written in another way by others.
fn plain_json(text: &str) -> Option<Value> {
    let mut rest = text.trim_matches([' ', '\n']);
    if !rest.starts_with(['{', '[']) || !rest.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')) {
        return None;
    }
    let value = json(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

/// Reads one value off the front of `rest`.
fn json(rest: &mut &str, depth: u32) -> Option<Value> {
    let value = match rest.chars().next()? {
        '{' if depth < 20 => {
            let mut map = BTreeMap::new();
            list(rest, '}', |rest| {
                let Value::String(key) = json(rest, depth + 1)? else {
                    return None;
                };
                *rest = rest.strip_prefix(": ")?;
                map.insert(key, json(rest, depth + 1)?)
                    .is_none()
                    .then_some(())
            })?;
            Value::Map(map)
        }
        '[' if depth < 20 => {
            let mut items = Vec::new();
            list(rest, ']', |rest| {
                items.push(json(rest, depth + 1)?);
                Some(())
            })?;
            Value::List(items)
        }
        '"' => {
            let end = rest[1..].find(['"', '\\', '\n'])?;
            let text = &rest[1..=end];
            *rest = rest[end + 1..].strip_prefix('"')?;
            Value::String(text.to_owned())
        }
        _ => {
            let end = rest.find([',', ']', '}', ' ', '\n']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            *rest = after;
            match word {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                word => {
                    let number: u32 = word.parse().ok()?;
                    (number.to_string() == word).then_some(Value::Number(number.into()))?
                }
            }
        }
    };
    Some(value)
}

/// Reads entries with ", " between them up to `close`.
fn list(
    rest: &mut &str,
    close: char,
    mut entry: impl FnMut(&mut &str) -> Option<()>,
) -> Option<()> {
    *rest = &rest[1..];
    if let Some(after) = rest.strip_prefix(close) {
        *rest = after;
        return Some(());
    }
    loop {
        entry(rest)?;
        if let Some(after) = rest.strip_prefix(close) {
            *rest = after;
            return Some(());
        }
        *rest = rest.strip_prefix(", ")?;
    }
}

#[cfg(test)]
mod tests;
