//! The built-in functions without effects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_diag::Span;
use lockgate_model::Value;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use sha1::Digest as _;
use unicode_segmentation::UnicodeSegmentation as _;

use super::{Evaluator, Failure, text};
use crate::expression::Call;
use crate::files::hash_entries;
use crate::function::Builtin;

/// Most parts of `fn::split`: each costs far more memory than its bytes.
const PARTS_MAX: usize = 1_000_000;

impl Evaluator<'_> {
    pub(super) fn builtin(&mut self, builtin: Builtin, call: &Call) -> Result<Value, Failure> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.value(arg)?);
        }
        let span = |index: usize| call.args.get(index).map_or(call.span, |a| a.span);
        match (builtin, args.as_slice()) {
            (Builtin::Secret, [value]) => return Ok(value.clone().into_secret()),
            (Builtin::Unsecret, [value]) => return Ok(value.without_secrets()),
            // One item of a list: the others' secrets do not touch it.
            (Builtin::Select, [index, list]) => return self.select(index, list, span(0), span(1)),
            (Builtin::SingleOrNone, [list]) => return self.single_or_none(list, span(0)),
            (Builtin::AssetArchive, [entries]) => return self.asset_archive(entries, span(0)),
            _ => {}
        }
        let secret = args.iter().any(Value::contains_secret);
        let value = if args.iter().any(Value::contains_unknown) {
            Value::Unknown
        } else {
            let plain: Vec<Value> = args.iter().map(Value::without_secrets).collect();
            self.plain(builtin, &plain, call)?
        };
        Ok(if secret { value.into_secret() } else { value })
    }

    /// Functions of known values without secrets.
    fn plain(&self, builtin: Builtin, args: &[Value], call: &Call) -> Result<Value, Failure> {
        let span = |index: usize| call.args.get(index).map_or(call.span, |a| a.span);
        let text = |index: usize| match args.get(index) {
            Some(Value::String(text)) => Ok(text.as_str()),
            found => Err(self.wrong(
                span(index),
                &format!("the argument of `{}`", builtin.name()),
                "a string",
                found.unwrap_or(&Value::Null),
            )),
        };
        Ok(match builtin {
            Builtin::Join => self.join(text(0)?, &args[1], span(1))?,
            Builtin::Split => self.split(text(0)?, text(1)?, span(1))?,
            Builtin::Length => Value::Number(self.length(&args[0], span(0))? as f64),
            Builtin::ToJson => {
                let mut out = String::new();
                text::push_json(&mut out, &args[0])
                    .map_err(|what| self.fail(span(0), format!("JSON cannot hold {what}")))?;
                Value::String(out)
            }
            Builtin::ToBase64 => Value::String(STANDARD.encode(text(0)?)),
            Builtin::FromBase64 => {
                let bytes = STANDARD
                    .decode(text(0)?)
                    .map_err(|_| self.fail(span(0), "the text is not base64"))?;
                let decoded = String::from_utf8(bytes)
                    .map_err(|_| self.fail(span(0), "the decoded bytes are not UTF-8 text"))?;
                Value::String(decoded)
            }
            Builtin::Sha1 => Value::String(hex::encode(sha1::Sha1::digest(text(0)?))),
            Builtin::ResourceName | Builtin::ResourceType => match &args[0] {
                Value::Reference(reference) if builtin == Builtin::ResourceName => {
                    Value::from(reference.urn.name())
                }
                Value::Reference(reference) => Value::from(reference.urn.type_token()),
                found => return Err(self.wrong(span(0), "the argument", "a resource", found)),
            },
            Builtin::StringAsset => {
                let text = text(0)?;
                Value::Asset(Asset {
                    hash: Some(hex::encode(sha2::Sha256::digest(text))),
                    source: AssetSource::Text(text.to_owned()),
                })
            }
            Builtin::RemoteAsset => Value::Asset(Asset {
                hash: None,
                source: AssetSource::Uri(text(0)?.to_owned()),
            }),
            Builtin::RemoteArchive => Value::Archive(Archive {
                hash: None,
                source: ArchiveSource::Uri(text(0)?.to_owned()),
            }),
            _ => {
                return Err(self.fail(
                    call.span,
                    format!("`{}` cannot be called here", builtin.name()),
                ));
            }
        })
    }

    fn split(&self, delimiter: &str, whole: &str, span: Span) -> Result<Value, Failure> {
        let parts: Vec<Value> = if delimiter.is_empty() {
            let characters = whole.chars().take(PARTS_MAX + 1);
            characters.map(|c| Value::from(c.to_string())).collect()
        } else {
            let parts = whole.split(delimiter).take(PARTS_MAX + 1);
            parts.map(Value::from).collect()
        };
        if parts.len() > PARTS_MAX {
            let message = format!("the text splits into more than {PARTS_MAX} parts");
            return Err(self.fail(span, message));
        }
        Ok(Value::List(parts))
    }

    fn join(&self, delimiter: &str, list: &Value, span: Span) -> Result<Value, Failure> {
        let Value::List(items) = list else {
            return Err(self.wrong(span, "the second argument of `fn::join`", "a list", list));
        };
        let mut out = String::new();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(delimiter);
            }
            match item {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => text::push(&mut out, item),
                _ => return Err(self.wrong(span, "an item of `fn::join`", "a string", item)),
            }
        }
        Ok(Value::String(out))
    }

    fn length(&self, value: &Value, span: Span) -> Result<usize, Failure> {
        match value {
            Value::String(text) => Ok(text.graphemes(true).count()),
            Value::List(items) => Ok(items.len()),
            Value::Map(map) => Ok(map.len()),
            found => Err(self.wrong(
                span,
                "the argument of `fn::length`",
                "a string or a list",
                found,
            )),
        }
    }

    fn select(
        &self,
        index: &Value,
        list: &Value,
        index_span: Span,
        list_span: Span,
    ) -> Result<Value, Failure> {
        let secret = matches!(index, Value::Secret(_)) || matches!(list, Value::Secret(_));
        let value = match (index.unsecret(), list.unsecret()) {
            (Value::Unknown, _) | (_, Value::Unknown) => Value::Unknown,
            (Value::Number(number), Value::List(items)) => {
                let found = (number.fract() == 0.0 && *number >= 0.0)
                    .then(|| items.get(*number as usize))
                    .flatten();
                match found {
                    Some(item) => item.clone(),
                    None => {
                        let message = format!(
                            "index {} is outside the list of {}",
                            text::number_text(*number),
                            items.len()
                        );
                        return Err(self.fail(index_span, message));
                    }
                }
            }
            (Value::Number(_), found) => {
                return Err(self.wrong(
                    list_span,
                    "the second argument of `fn::select`",
                    "a list",
                    found,
                ));
            }
            (found, _) => {
                return Err(self.wrong(
                    index_span,
                    "the first argument of `fn::select`",
                    "a number",
                    found,
                ));
            }
        };
        Ok(if secret { value.into_secret() } else { value })
    }

    fn single_or_none(&self, list: &Value, span: Span) -> Result<Value, Failure> {
        let value = match list.unsecret() {
            Value::Unknown => Value::Unknown,
            Value::List(items) => match items.as_slice() {
                [] => Value::Null,
                [item] => item.clone(),
                _ => {
                    let message = format!(
                        "`fn::singleOrNone` takes at most one item, found {}",
                        items.len()
                    );
                    return Err(self.fail(span, message));
                }
            },
            found => {
                return Err(self.wrong(
                    span,
                    "the argument of `fn::singleOrNone`",
                    "a list",
                    found,
                ));
            }
        };
        Ok(if matches!(list, Value::Secret(_)) {
            value.into_secret()
        } else {
            value
        })
    }

    fn asset_archive(&self, entries: &Value, span: Span) -> Result<Value, Failure> {
        let map = match entries.unsecret() {
            Value::Unknown => return Ok(Value::Unknown),
            Value::Map(map) => map,
            found => {
                return Err(self.wrong(span, "the argument of `fn::assetArchive`", "a map", found));
            }
        };
        let mut hashes = Some(Vec::new());
        for (path, value) in map {
            let hash = match value.unsecret() {
                Value::Asset(asset) => asset.hash.as_deref(),
                Value::Archive(archive) => archive.hash.as_deref(),
                Value::Unknown => return Ok(Value::Unknown),
                found => {
                    let subject = format!("entry `{path}` of `fn::assetArchive`");
                    return Err(self.wrong(span, &subject, "an asset or archive", found));
                }
            };
            let mut bytes = [0; 32];
            let known = hash.is_some_and(|h| hex::decode_to_slice(h, &mut bytes).is_ok());
            // What only a URI names has no hash, and neither has an archive with it inside.
            hashes = hashes.filter(|_| known).map(|mut all| {
                all.push((path.as_str(), bytes));
                all
            });
        }
        Ok(Value::Archive(Archive {
            hash: hashes.map(|all| hash_entries(all.into_iter())),
            source: ArchiveSource::Assets(map.clone()),
        }))
    }
}
