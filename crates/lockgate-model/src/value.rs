//! Property values: what resources take in and give out.

use std::collections::BTreeMap;
use std::fmt;

use lockgate_diag::REDACTED;

use crate::urn::Urn;

/// Properties by name, in byte order of the names so that every rendering is stable.
pub type PropertyMap = BTreeMap<String, Value>;

/// One property value.
///
/// `Debug` and `Display` print [`REDACTED`] for secrets, at any depth.
#[derive(Clone, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number; every number is a 64-bit float, as in the programs' own protocols.
    Number(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(PropertyMap),
    /// A value that is encrypted at rest and masked in every display.
    Secret(Box<Value>),
    /// A value that is known only after an update; appears in previews only.
    Unknown,
    /// A file or text given to a resource by content.
    Asset(Asset),
    /// A folder, archive file or map of assets given to a resource by content.
    Archive(Archive),
    /// A resource handed to another one.
    Reference(ResourceReference),
}

/// A single blob. `hash` is the lower-case hex SHA-256 of the content once it was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Hex SHA-256 of the content, if known.
    pub hash: Option<String>,
    /// Where the content is.
    pub source: AssetSource,
}

/// Where the content of an asset is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssetSource {
    /// The text itself.
    Text(String),
    /// A file; relative to the project folder unless absolute.
    Path(String),
    /// A URI.
    Uri(String),
}

/// A tree of blobs. `hash` as for [`Asset`].
#[derive(Clone, Debug, PartialEq)]
pub struct Archive {
    /// Hex SHA-256 that changes when any entry changes, if known.
    pub hash: Option<String>,
    /// Where the entries are.
    pub source: ArchiveSource,
}

/// Where the entries of an archive are.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchiveSource {
    /// Each entry is an [`Value::Asset`] or [`Value::Archive`], keyed by its path.
    Assets(PropertyMap),
    /// A folder or archive file; relative to the project folder unless absolute.
    Path(String),
    /// A URI.
    Uri(String),
}

/// A resource as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceReference {
    /// Which resource.
    pub urn: Urn,
    /// Its id: `None` for components, `Some("")` when not yet known.
    pub id: Option<String>,
    /// The version of its package, if the program stated one.
    pub package_version: Option<String>,
}

impl Value {
    /// Wraps in [`Value::Secret`] unless it is one already.
    #[must_use]
    pub fn into_secret(self) -> Self {
        match self {
            Self::Secret(_) => self,
            other => Self::Secret(Box::new(other)),
        }
    }

    /// The value without its outermost secret wrappers.
    pub fn unsecret(&self) -> &Self {
        let mut value = self;
        while let Self::Secret(inner) = value {
            value = inner;
        }
        value
    }

    /// A copy without secret wrappers at any depth.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        match self {
            Self::Secret(inner) => inner.without_secrets(),
            Self::List(items) => Self::List(items.iter().map(Self::without_secrets).collect()),
            Self::Map(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| (key.clone(), value.without_secrets()))
                    .collect(),
            ),
            Self::Archive(Archive {
                hash,
                source: ArchiveSource::Assets(assets),
            }) => {
                let entries = assets.iter();
                let clear = entries.map(|(key, value)| (key.clone(), value.without_secrets()));
                Self::Archive(Archive {
                    hash: hash.clone(),
                    source: ArchiveSource::Assets(clear.collect()),
                })
            }
            other => other.clone(),
        }
    }

    /// Whether `test` holds for this value or one inside it.
    pub fn any(&self, test: &mut dyn FnMut(&Self) -> bool) -> bool {
        if test(self) {
            return true;
        }
        match self {
            Self::Secret(inner) => inner.any(test),
            Self::List(items) => items.iter().any(|v| v.any(test)),
            Self::Map(map) => map.values().any(|v| v.any(test)),
            Self::Archive(Archive {
                source: ArchiveSource::Assets(map),
                ..
            }) => map.values().any(|v| v.any(test)),
            _ => false,
        }
    }

    /// Whether it or anything inside it is unknown.
    pub fn contains_unknown(&self) -> bool {
        self.any(&mut |v| matches!(v, Self::Unknown))
    }

    /// Whether it or anything inside it is secret.
    pub fn contains_secret(&self) -> bool {
        self.any(&mut |v| matches!(v, Self::Secret(_)))
    }

    /// The text, looking through secrets.
    pub fn as_str(&self) -> Option<&str> {
        match self.unsecret() {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, looking through secrets.
    pub fn as_f64(&self) -> Option<f64> {
        match self.unsecret() {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean, looking through secrets.
    pub fn as_bool(&self) -> Option<bool> {
        match self.unsecret() {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The list, looking through secrets.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self.unsecret() {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map, looking through secrets.
    pub fn as_map(&self) -> Option<&PropertyMap> {
        match self.unsecret() {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The kind as a word for messages, looking through secrets: `a string`, `a list` …
    pub fn kind_name(&self) -> &'static str {
        match self.unsecret() {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Secret(_) => "a secret",
            Self::Unknown => "unknown",
            Self::Asset(_) => "an asset",
            Self::Archive(_) => "an archive",
            Self::Reference(_) => "a resource",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(map) => f.debug_map().entries(map).finish(),
            Self::Secret(_) => f.write_str(REDACTED),
            Self::Unknown => f.write_str("[unknown]"),
            Self::Asset(asset) => asset.fmt(f),
            Self::Archive(archive) => archive.fmt(f),
            Self::Reference(reference) => write!(f, "&{}", reference.urn),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(value) => f.write_str(value),
            other => write!(f, "{other:?}"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<PropertyMap> for Value {
    fn from(map: PropertyMap) -> Self {
        Self::Map(map)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_at_any_depth() {
        let secret = Value::from("canary").into_secret();
        let value = Value::List(vec![Value::Map([("k".to_owned(), secret)].into())]);
        let shown = format!("{value:?} {value}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(value.contains_secret());
        assert!(!value.without_secrets().contains_secret());
        let archive = Value::Archive(Archive {
            hash: None,
            source: ArchiveSource::Assets([("a".to_owned(), value)].into()),
        });
        assert!(archive.contains_secret());
        assert!(!archive.without_secrets().contains_secret());
    }
}
