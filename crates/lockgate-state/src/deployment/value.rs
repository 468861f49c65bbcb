//! Property values as JSON text (engine guide, sections 8 and 13.1).
//!
//! A special value is an object with the signature key. Values stream in both directions: no
//! tree of JSON is built, because a state of 10,000 resources is tens of megabytes.

use std::cell::RefCell;
use std::fmt;

use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource, ResourceReference};
use lockgate_model::{PropertyMap, Urn, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde::{Deserialize as _, Serialize};
use serde_json::value::RawValue;

use crate::secrets::{Place, SecretsError, SecretsManager};

/// The key that marks a special value.
pub(crate) const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";

const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";
const ASSET: &str = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE: &str = "0def7320c3a5731c473e5ecbe6d01bc7";
const REFERENCE: &str = "5cf8f73096256a8f31e491e813e4eb8e";
const NUMBER: &str = "8ad145fe-0d11-4827-bfd7-1abcbf086f5c";

/// What stands for an unknown value; the first is the one written.
const UNKNOWNS: [&str; 7] = [
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
];

/// Whole numbers up to here are written without a fraction, as other tools write them.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Carries a typed secrets failure around serde, whose errors are text.
pub(crate) type Failure = RefCell<Option<SecretsError>>;

/// How secrets are written.
#[derive(Clone, Copy)]
pub(crate) enum SecretsOut<'a> {
    Cells(&'a SecretsManager),
    Shown,
}

/// What writing a value needs beside the value.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) secrets: SecretsOut<'a>,
    pub(crate) place: Place<'a>,
    pub(crate) failure: &'a Failure,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(secrets: SecretsOut<'a>, failure: &'a Failure) -> Self {
        Self {
            secrets,
            place: Place::default(),
            failure,
        }
    }

    pub(crate) fn within(self, urn: &'a str, section: &'a str) -> Self {
        Self {
            place: Place {
                urn,
                section,
                property: "",
            },
            ..self
        }
    }
}

/// What becomes of a cell when there is no manager to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// It is an error.
    Refuse,
    /// It is a secret with an unknown value.
    Unknown,
}

/// What reading a value needs beside the text.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    /// The manager, or the name of the provider that Lockgate has no manager for.
    pub(crate) secrets: Result<&'a SecretsManager, &'a str>,
    pub(crate) locked: Locked,
    pub(crate) place: Place<'a>,
    pub(crate) failure: &'a Failure,
}

impl<'a> Decoder<'a> {
    pub(crate) fn within(self, urn: &'a str, section: &'a str) -> Self {
        Self {
            place: Place {
                urn,
                section,
                property: "",
            },
            ..self
        }
    }
}

/// Writes the properties of a resource.
pub(crate) struct PropertiesOut<'a>(pub(crate) &'a PropertyMap, pub(crate) Encoder<'a>);

impl Serialize for PropertiesOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            let mut encoder = self.1;
            encoder.place.property = name;
            map.serialize_entry(name, &ValueOut(value, encoder))?;
        }
        map.end()
    }
}

/// Writes one value.
pub(crate) struct ValueOut<'a>(pub(crate) &'a Value, pub(crate) Encoder<'a>);

/// Writes a map inside a value: the place stays the one of the outer property.
struct MapOut<'a>(&'a PropertyMap, Encoder<'a>);

impl Serialize for MapOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, ValueOut(v, self.1))))
    }
}

impl Serialize for ValueOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, encoder) = *self;
        match value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => serialize_number(*number, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Unknown => serializer.serialize_str(UNKNOWNS[0]),
            Value::List(items) => {
                serializer.collect_seq(items.iter().map(|item| ValueOut(item, encoder)))
            }
            Value::Map(map) => MapOut(map, encoder).serialize(serializer),
            Value::Secret(inner) => serialize_secret(inner, encoder, serializer),
            Value::Asset(asset) => {
                let (key, content) = match &asset.source {
                    AssetSource::Text(text) => ("text", text),
                    AssetSource::Path(path) => ("path", path),
                    AssetSource::Uri(uri) => ("uri", uri),
                };
                let hash = asset.hash.as_deref();
                serialize_special(serializer, ASSET, &[("hash", hash), (key, Some(content))])
            }
            Value::Archive(archive) => serialize_archive(archive, encoder, serializer),
            Value::Reference(reference) => serialize_special(
                serializer,
                REFERENCE,
                &[
                    ("urn", Some(reference.urn.as_str())),
                    ("id", reference.id.as_deref()),
                    ("packageVersion", reference.package_version.as_deref()),
                ],
            ),
        }
    }
}

fn serialize_special<S: Serializer>(
    serializer: S,
    signature: &str,
    fields: &[(&str, Option<&str>)],
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry(SIGNATURE, signature)?;
    for (key, text) in fields {
        if let Some(text) = text {
            map.serialize_entry(key, text)?;
        }
    }
    map.end()
}

fn serialize_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if !number.is_finite() {
        let bits = format!("{:016x}", number.to_bits());
        return serialize_special(serializer, NUMBER, &[("value", Some(&bits))]);
    }
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX && !negative_zero {
        return serializer.serialize_i64(number as i64);
    }
    serializer.serialize_f64(number)
}

fn serialize_secret<S: Serializer>(
    inner: &Value,
    encoder: Encoder<'_>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let plaintext = serde_json::to_string(&ValueOut(inner, encoder)).map_err(S::Error::custom)?;
    let (key, text) = match encoder.secrets {
        SecretsOut::Shown => ("plaintext", plaintext),
        SecretsOut::Cells(manager) => match manager.encrypt_at(&encoder.place, &plaintext) {
            Ok(cell) => ("ciphertext", cell),
            Err(error) => {
                let text = error.to_string();
                encoder.failure.replace(Some(error));
                return Err(S::Error::custom(text));
            }
        },
    };
    serialize_special(serializer, SECRET, &[(key, Some(&text))])
}

fn serialize_archive<S: Serializer>(
    archive: &Archive,
    encoder: Encoder<'_>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry(SIGNATURE, ARCHIVE)?;
    if let Some(hash) = &archive.hash {
        map.serialize_entry("hash", hash)?;
    }
    match &archive.source {
        ArchiveSource::Assets(assets) => map.serialize_entry("assets", &MapOut(assets, encoder))?,
        ArchiveSource::Path(path) => map.serialize_entry("path", path)?,
        ArchiveSource::Uri(uri) => map.serialize_entry("uri", uri)?,
    }
    map.end()
}

/// Reads the properties of a resource.
pub(crate) fn decode_properties(
    text: &str,
    decoder: Decoder<'_>,
) -> Result<PropertyMap, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let properties = reader.deserialize_map(PropertiesVisitor(decoder))?;
    reader.end()?;
    Ok(properties)
}

/// Deepest nesting that is read: twice what a program can write, so that a state which was
/// written can be read.
const DEPTH_MAX: u32 = 512;
/// Levels that one parser reads; its own limit is 128.
const PARSER_LEVELS: u32 = 100;

/// Reads one value.
pub(crate) fn decode_value(text: &str, decoder: Decoder<'_>) -> Result<Value, serde_json::Error> {
    decode_at(text, decoder, 0)
}

fn decode_at(text: &str, decoder: Decoder<'_>, depth: u32) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = ValueIn { decoder, depth }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct PropertiesVisitor<'a>(Decoder<'a>);

impl<'de> Visitor<'de> for PropertiesVisitor<'_> {
    type Value = PropertyMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<PropertyMap, A::Error> {
        let mut map = PropertyMap::new();
        while let Some(name) = access.next_key::<String>()? {
            let mut decoder = self.0;
            decoder.place.property = &name;
            let value = access.next_value_seed(ValueIn { decoder, depth: 1 })?;
            map.insert(name, value);
        }
        Ok(map)
    }
}

#[derive(Clone, Copy)]
struct ValueIn<'a> {
    decoder: Decoder<'a>,
    depth: u32,
}

impl ValueIn<'_> {
    /// For what stands inside.
    fn inner(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueIn<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Self { decoder, depth } = self.inner();
        if depth > DEPTH_MAX {
            let words = format!("values are nested deeper than {DEPTH_MAX} levels");
            return Err(D::Error::custom(words));
        }
        if depth % PARSER_LEVELS == 0 {
            let raw = <&RawValue>::deserialize(deserializer)?;
            return decode_at(raw.get(), decoder, depth).map_err(D::Error::custom);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueIn<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        // Sentinels have the length of a UUID; most strings do not.
        if text.len() == UNKNOWNS[0].len() && UNKNOWNS.contains(&text.as_str()) {
            return Ok(Value::Unknown);
        }
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.inner())? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = PropertyMap::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.inner())?;
            map.insert(name, value);
        }
        match map.remove(SIGNATURE) {
            None => Ok(Value::Map(map)),
            Some(Value::String(signature)) => {
                decode_special(&signature, map, self.decoder).map_err(A::Error::custom)
            }
            Some(_) => Err(A::Error::custom(
                "a special value whose signature is no text",
            )),
        }
    }
}

/// The value behind a signature. Errors are words for the reader of the file; none holds a value.
fn decode_special(
    signature: &str,
    mut fields: PropertyMap,
    decoder: Decoder<'_>,
) -> Result<Value, String> {
    let mut text = |key: &str| match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // An id that was not known when it was written.
        Some(Value::Unknown) => Ok(Some(String::new())),
        Some(_) => Err(format!("`{key}` of a special value is no text")),
    };
    match signature {
        SECRET => {
            if let Some(plaintext) = text("plaintext")? {
                let inner = decode_value(&plaintext, decoder)
                    .map_err(|_| "the `plaintext` of a secret is no JSON value".to_owned())?;
                return Ok(inner.into_secret());
            }
            let cell = text("ciphertext")?.ok_or("a secret without `ciphertext`")?;
            if decoder.secrets.is_err() && decoder.locked == Locked::Unknown {
                return Ok(Value::Unknown.into_secret());
            }
            decode_cell(&cell, decoder).map_err(|error| {
                let words = error.to_string();
                decoder.failure.replace(Some(error));
                words
            })
        }
        ASSET => {
            let hash = text("hash")?;
            let source = if let Some(path) = text("path")? {
                AssetSource::Path(path)
            } else if let Some(uri) = text("uri")? {
                AssetSource::Uri(uri)
            } else {
                // Writers leave an empty text out.
                AssetSource::Text(text("text")?.unwrap_or_default())
            };
            Ok(Value::Asset(Asset { hash, source }))
        }
        ARCHIVE => {
            let hash = text("hash")?;
            let source = if let Some(path) = text("path")? {
                ArchiveSource::Path(path)
            } else if let Some(uri) = text("uri")? {
                ArchiveSource::Uri(uri)
            } else {
                match fields.remove("assets") {
                    None | Some(Value::Null) => ArchiveSource::Assets(PropertyMap::new()),
                    Some(Value::Map(assets)) => ArchiveSource::Assets(assets),
                    Some(_) => return Err("the `assets` of an archive are no map".to_owned()),
                }
            };
            Ok(Value::Archive(Archive { hash, source }))
        }
        REFERENCE => {
            let urn = text("urn")?.ok_or("a resource reference without `urn`")?;
            Ok(Value::Reference(ResourceReference {
                urn: Urn::parse(&urn).map_err(|error| error.to_string())?,
                id: text("id")?,
                package_version: text("packageVersion")?,
            }))
        }
        NUMBER => {
            let bits = text("value")?
                .filter(|digits| digits.len() == 16)
                .and_then(|digits| u64::from_str_radix(&digits, 16).ok())
                .ok_or("a number whose bits are not 16 hex digits")?;
            Ok(Value::Number(f64::from_bits(bits)))
        }
        other => Err(format!(
            "a special value with the unknown signature `{other}`"
        )),
    }
}

fn decode_cell(cell: &str, decoder: Decoder<'_>) -> Result<Value, SecretsError> {
    let manager = decoder
        .secrets
        .map_err(|kind| SecretsError::UnknownProvider(kind.to_owned()))?;
    let plaintext = manager.decrypt(cell)?;
    let inner = decode_value(plaintext.expose(), decoder).map_err(|_| SecretsError::NotAValue)?;
    // Remembered as we would write it: other tools escape and order text differently.
    let encoder = Encoder {
        secrets: SecretsOut::Cells(manager),
        place: decoder.place,
        failure: decoder.failure,
    };
    if let Ok(canonical) = serde_json::to_string(&ValueOut(&inner, encoder)) {
        manager.remember(&decoder.place, &canonical, cell);
    }
    Ok(inner.into_secret())
}
