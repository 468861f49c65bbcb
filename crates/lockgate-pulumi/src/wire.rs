//! Property values as `google.protobuf.Struct` (engine guide, section 8): plain values as they
//! are, everything else as an object with a signature under one special key.

use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource, ResourceReference};
use lockgate_model::{PropertyMap, Urn, Value};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};

/// The key that marks an object as a special value.
const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";
const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";
const OUTPUT: &str = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const REFERENCE: &str = "5cf8f73096256a8f31e491e813e4eb8e";
const ASSET: &str = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE: &str = "0def7320c3a5731c473e5ecbe6d01bc7";

/// Stands for a value that is not known yet; the form that SDKs send for nearly everything.
const UNKNOWN: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/// The forms for unknown strings, booleans, numbers, lists, maps, assets and archives.
const UNKNOWNS: [&str; 7] = [
    UNKNOWN,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
];

/// A value that does not follow the encoding.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum WireError {
    /// A special value of a kind this version does not know.
    #[error("a property has the unknown special kind `{0}`")]
    Signature(String),
    /// A part of a special value is missing or of the wrong kind.
    #[error("{0} has no valid `{1}`")]
    Part(&'static str, &'static str),
}

/// Decodes properties. `dependency` gets the name of the property and each resource that an
/// output value in it came from.
pub(crate) fn decode(
    bag: Option<Struct>,
    dependency: &mut dyn FnMut(&str, Urn),
) -> Result<PropertyMap, WireError> {
    let mut properties = PropertyMap::new();
    for (name, value) in bag.map(|bag| bag.fields).unwrap_or_default() {
        let value = decode_value(value, &mut |urn| dependency(&name, urn))?;
        properties.insert(name, value);
    }
    Ok(properties)
}

/// Decodes one value. Depth is bounded by the message decoder.
pub(crate) fn decode_value(
    value: WireValue,
    dependency: &mut dyn FnMut(Urn),
) -> Result<Value, WireError> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => Value::Number(value),
        Some(Kind::StringValue(text)) if UNKNOWNS.contains(&text.as_str()) => Value::Unknown,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::List(
            list.values
                .into_iter()
                .map(|item| decode_value(item, dependency))
                .collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(object)) => decode_object(object, dependency)?,
    })
}

fn decode_object(mut object: Struct, dependency: &mut dyn FnMut(Urn)) -> Result<Value, WireError> {
    let signature = match object.fields.get(SIGNATURE) {
        Some(WireValue {
            kind: Some(Kind::StringValue(signature)),
        }) => signature.clone(),
        Some(_) => return Err(WireError::Part("a special value", "signature")),
        None => return decode_map(object, dependency).map(Value::Map),
    };
    match signature.as_str() {
        SECRET => {
            let inner = object.fields.remove("value");
            let inner = inner.ok_or(WireError::Part("a secret", "value"))?;
            Ok(decode_value(inner, dependency)?.into_secret())
        }
        OUTPUT => decode_output(object, dependency),
        REFERENCE => decode_reference(&object),
        ASSET => decode_asset(&object).map(Value::Asset),
        ARCHIVE => decode_archive(object, dependency).map(Value::Archive),
        _ => Err(WireError::Signature(signature)),
    }
}

fn decode_map(object: Struct, dependency: &mut dyn FnMut(Urn)) -> Result<PropertyMap, WireError> {
    let fields = object.fields.into_iter();
    fields
        .map(|(key, value)| Ok((key, decode_value(value, dependency)?)))
        .collect()
}

/// An output value becomes what it stands for: unknown, secret or plain.
fn decode_output(mut object: Struct, dependency: &mut dyn FnMut(Urn)) -> Result<Value, WireError> {
    if let Some(Kind::ListValue(list)) = object.fields.remove("dependencies").and_then(|v| v.kind) {
        for urn in list.values {
            let Some(Kind::StringValue(urn)) = urn.kind else {
                return Err(WireError::Part("an output", "dependencies"));
            };
            let parsed = Urn::parse(&urn);
            dependency(parsed.map_err(|_| WireError::Part("an output", "dependencies"))?);
        }
    }
    let secret = matches!(
        object.fields.get("secret").and_then(|v| v.kind.as_ref()),
        Some(Kind::BoolValue(true))
    );
    let value = match object.fields.remove("value") {
        Some(value) => decode_value(value, dependency)?,
        None => Value::Unknown,
    };
    Ok(if secret { value.into_secret() } else { value })
}

fn text<'o>(object: &'o Struct, key: &str) -> Option<&'o str> {
    match object.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A non-empty text: SDKs send every possible source of an asset, the unused ones empty.
fn filled(object: &Struct, key: &str) -> Option<String> {
    text(object, key)
        .filter(|t| !t.is_empty())
        .map(str::to_owned)
}

fn decode_reference(object: &Struct) -> Result<Value, WireError> {
    const WHAT: &str = "a resource reference";
    let urn = text(object, "urn").ok_or(WireError::Part(WHAT, "urn"))?;
    Ok(Value::Reference(ResourceReference {
        urn: Urn::parse(urn).map_err(|_| WireError::Part(WHAT, "urn"))?,
        id: text(object, "id").map(|text| id(text.to_owned())),
        package_version: filled(object, "packageVersion"),
    }))
}

fn decode_asset(object: &Struct) -> Result<Asset, WireError> {
    let source = if let Some(path) = filled(object, "path") {
        AssetSource::Path(path)
    } else if let Some(uri) = filled(object, "uri") {
        AssetSource::Uri(uri)
    } else {
        let text = text(object, "text").ok_or(WireError::Part("an asset", "text"))?;
        AssetSource::Text(text.to_owned())
    };
    Ok(Asset {
        hash: filled(object, "hash"),
        source,
    })
}

fn decode_archive(
    mut object: Struct,
    dependency: &mut dyn FnMut(Urn),
) -> Result<Archive, WireError> {
    let hash = filled(&object, "hash");
    let source = if let Some(path) = filled(&object, "path") {
        ArchiveSource::Path(path)
    } else if let Some(uri) = filled(&object, "uri") {
        ArchiveSource::Uri(uri)
    } else {
        let assets = object.fields.remove("assets").and_then(|value| value.kind);
        let Some(Kind::StructValue(assets)) = assets else {
            return Err(WireError::Part("an archive", "assets"));
        };
        ArchiveSource::Assets(decode_map(assets, dependency)?)
    };
    Ok(Archive { hash, source })
}

/// An id on its way in: the form for an unknown one becomes the empty text.
pub(crate) fn id(text: String) -> String {
    if UNKNOWNS.contains(&text.as_str()) {
        return String::new();
    }
    text
}

/// What the receiver understands; the rest is downgraded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepts {
    /// Secrets; else their plain values are sent.
    pub(crate) secrets: bool,
    /// Resource references; else their ids (or URNs) are sent.
    pub(crate) references: bool,
}

/// Encodes properties.
pub(crate) fn encode(properties: &PropertyMap, accepts: Accepts) -> Struct {
    let fields = properties.iter();
    Struct {
        fields: fields
            .map(|(name, value)| (name.clone(), encode_value(value, accepts)))
            .collect(),
    }
}

fn string(text: &str) -> WireValue {
    WireValue {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn special<'k>(
    signature: &str,
    parts: impl IntoIterator<Item = (&'k str, Option<WireValue>)>,
) -> Kind {
    let mut fields = [(SIGNATURE.to_owned(), string(signature))]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    for (key, value) in parts {
        fields.extend(value.map(|value| (key.to_owned(), value)));
    }
    Kind::StructValue(Struct { fields })
}

/// Encodes one value.
pub(crate) fn encode_value(value: &Value, accepts: Accepts) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(*value),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Unknown => Kind::StringValue(UNKNOWN.to_owned()),
        Value::List(items) => Kind::ListValue(ListValue {
            values: items.iter().map(|v| encode_value(v, accepts)).collect(),
        }),
        Value::Map(map) => Kind::StructValue(encode(map, accepts)),
        Value::Secret(inner) if !accepts.secrets => return encode_value(inner, accepts),
        Value::Secret(inner) => special(SECRET, [("value", Some(encode_value(inner, accepts)))]),
        Value::Asset(asset) => {
            let (key, text) = match &asset.source {
                AssetSource::Text(text) => ("text", text),
                AssetSource::Path(path) => ("path", path),
                AssetSource::Uri(uri) => ("uri", uri),
            };
            let hash = asset.hash.as_deref().map(string);
            special(ASSET, [("hash", hash), (key, Some(string(text)))])
        }
        Value::Archive(archive) => {
            let (key, source) = match &archive.source {
                ArchiveSource::Assets(assets) => {
                    let kind = Some(Kind::StructValue(encode(assets, accepts)));
                    ("assets", WireValue { kind })
                }
                ArchiveSource::Path(path) => ("path", string(path)),
                ArchiveSource::Uri(uri) => ("uri", string(uri)),
            };
            let hash = archive.hash.as_deref().map(string);
            special(ARCHIVE, [("hash", hash), (key, Some(source))])
        }
        Value::Reference(reference) => encode_reference(reference, accepts),
    };
    WireValue { kind: Some(kind) }
}

fn encode_reference(reference: &ResourceReference, accepts: Accepts) -> Kind {
    if accepts.references {
        return special(
            REFERENCE,
            [
                ("urn", Some(string(reference.urn.as_str()))),
                ("id", reference.id.as_deref().map(string)),
                (
                    "packageVersion",
                    reference.package_version.as_deref().map(string),
                ),
            ],
        );
    }
    Kind::StringValue(match &reference.id {
        None => reference.urn.as_str().to_owned(),
        Some(id) if id.is_empty() => UNKNOWN.to_owned(),
        Some(id) => id.clone(),
    })
}

#[cfg(test)]
mod tests;
