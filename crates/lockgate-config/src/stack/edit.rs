//! Edits of YAML text at spans: only the bytes of the changed entry move.

use std::fmt::Write as _;
use std::sync::Arc;

use lockgate_diag::SourceFile;
use lockgate_model::Value;

use super::ConfigValue;
use crate::yaml::{Kind, Node, parse};

/// Why a file was not edited. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text does not parse.
    #[error("the stack file is not valid YAML")]
    Syntax,
    /// The edited text would not have read back as meant.
    #[error("the layout of the stack file is too unusual to edit; edit it by hand")]
    Layout,
}

const STEP: usize = 2;

/// The text with the entry at `path` (one or two keys) set to `value`.
pub(super) fn set(
    file: &Arc<SourceFile>,
    path: &[&str],
    value: &ConfigValue,
) -> Result<String, EditError> {
    let (tree, _) = parse(file);
    let tree = tree.ok_or(EditError::Syntax)?;
    set_in(&file.text, &tree, path, value, 0)
}

fn set_in(
    text: &str,
    map: &Node<'_>,
    path: &[&str],
    value: &ConfigValue,
    indent: usize,
) -> Result<String, EditError> {
    let (key, rest) = path.split_first().ok_or(EditError::Layout)?;
    let entries = map.as_map().unwrap_or_default();
    let found = entries.iter().find(|(k, _)| k.as_str() == Some(key));
    if let Some((_, inner)) = found
        && !rest.is_empty()
        && inner.as_map().is_some_and(|m| !m.is_empty())
    {
        return set_in(text, inner, rest, value, indent + STEP);
    }
    let flow = text.as_bytes().get(map.span.start as usize) == Some(&b'{');
    let value = match rest {
        [] => value.clone(),
        [inner] => ConfigValue::Map([((*inner).to_owned(), value.clone())].into()),
        _ => return Err(EditError::Layout),
    };
    let indent = entries
        .first()
        .map_or(indent, |(k, _)| column(text, k.span.start as usize));
    let rendered = if flow {
        format!(" {}", flow_text(&value))
    } else {
        block_value(&value, indent)
    };
    if let Some((key, old)) = found {
        let colon = colon_after(text, key)?;
        let end = (old.span.end as usize).max(colon);
        return Ok(splice(text, colon, end, &rendered));
    }
    let entry = format!("{}:{rendered}", quoted(key));
    match entries.last() {
        Some((key, last)) if flow => {
            let end = (last.span.end as usize).max(colon_after(text, key)?);
            Ok(splice(text, end, end, &format!(", {entry}")))
        }
        Some((key, last)) => {
            let end = (last.span.end as usize).max(colon_after(text, key)?);
            let at = line_end(text, end);
            let lead = if text[..at].ends_with('\n') { "" } else { "\n" };
            let pad = " ".repeat(indent);
            Ok(splice(text, at, at, &format!("{lead}{pad}{entry}\n")))
        }
        None if flow || !text.trim().is_empty() && map.kind != Kind::Null => Err(EditError::Layout),
        None => {
            let lead = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            Ok(format!("{text}{lead}{entry}\n"))
        }
    }
}

/// The text without `config.<key>`; without `config` when that was the `last` key.
pub(super) fn remove(file: &Arc<SourceFile>, key: &str, last: bool) -> Result<String, EditError> {
    let (tree, _) = parse(file);
    let tree = tree.ok_or(EditError::Syntax)?;
    let text = &file.text;
    let find = |map: &Node<'_>, name: &str| {
        map.as_map()
            .and_then(|m| m.iter().position(|(k, _)| k.as_str() == Some(name)))
    };
    let config_at = find(&tree, "config").ok_or(EditError::Layout)?;
    let top = tree.as_map().ok_or(EditError::Layout)?;
    if last {
        return remove_entry(text, &tree, top, config_at);
    }
    let config = &top[config_at].1;
    let at = find(config, key).ok_or(EditError::Layout)?;
    remove_entry(text, config, config.as_map().ok_or(EditError::Layout)?, at)
}

fn remove_entry(
    text: &str,
    map: &Node<'_>,
    entries: &[(Node<'_>, Node<'_>)],
    at: usize,
) -> Result<String, EditError> {
    let (key, value) = &entries[at];
    let end = (value.span.end as usize).max(colon_after(text, key)?);
    if text.as_bytes().get(map.span.start as usize) == Some(&b'{') {
        return Ok(match (at, entries.get(at + 1)) {
            (_, Some((next, _))) => {
                splice(text, key.span.start as usize, next.span.start as usize, "")
            }
            (0, None) => splice(text, key.span.start as usize, end, ""),
            (_, None) => splice(text, entries[at - 1].1.span.end as usize, end, ""),
        });
    }
    let start = text[..key.span.start as usize]
        .rfind('\n')
        .map_or(0, |i| i + 1);
    Ok(splice(text, start, line_end(text, end), ""))
}

fn splice(text: &str, start: usize, end: usize, new: &str) -> String {
    format!("{}{new}{}", &text[..start], &text[end..])
}

fn column(text: &str, at: usize) -> usize {
    at - text[..at].rfind('\n').map_or(0, |i| i + 1)
}

/// Behind the line feed of the line that `at` ends; `at` itself right behind a line feed.
fn line_end(text: &str, at: usize) -> usize {
    if at > 0 && text.as_bytes()[at - 1] == b'\n' {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |i| at + i + 1)
}

/// The place right behind the colon of a key.
fn colon_after(text: &str, key: &Node<'_>) -> Result<usize, EditError> {
    let end = key.span.end as usize;
    let rest = text.get(end..).ok_or(EditError::Layout)?;
    let colon = rest.find(':').ok_or(EditError::Layout)?;
    if rest[..colon].trim().is_empty() {
        Ok(end + colon + 1)
    } else {
        Err(EditError::Layout)
    }
}

/// What follows `key:` in block style.
fn block_value(value: &ConfigValue, indent: usize) -> String {
    let pad = " ".repeat(indent + STEP);
    let mut out = String::new();
    match value {
        ConfigValue::Map(map) if !map.is_empty() => {
            for (key, value) in map {
                let inner = block_value(value, indent + STEP);
                let _ = write!(out, "\n{pad}{}:{inner}", quoted(key));
            }
        }
        ConfigValue::Secure(ciphertext) => {
            let _ = write!(out, "\n{pad}secure: {}", quoted(ciphertext));
        }
        ConfigValue::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "\n{pad}- {}", flow_text(item));
            }
        }
        other => {
            let _ = write!(out, " {}", flow_text(other));
        }
    }
    out
}

fn flow_text(value: &ConfigValue) -> String {
    match value {
        ConfigValue::Plain(Value::String(text)) => quoted(text),
        ConfigValue::Plain(value) => value.to_string(),
        ConfigValue::Secure(ciphertext) => format!("{{secure: {}}}", quoted(ciphertext)),
        ConfigValue::List(items) => {
            let items: Vec<String> = items.iter().map(flow_text).collect();
            format!("[{}]", items.join(", "))
        }
        ConfigValue::Map(map) => {
            let items: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{}: {}", quoted(k), flow_text(v)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

/// Text as a scalar that reads back as the same text, plain where that is safe.
fn quoted(text: &str) -> String {
    let safe_bytes = |b: u8| b.is_ascii_alphanumeric() || b"_-./:+=@~".contains(&b);
    let safe_first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let word = text.to_ascii_lowercase();
    let reserved = matches!(
        word.as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if safe_first && !reserved && text.bytes().all(safe_bytes) && !text.ends_with(':') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
