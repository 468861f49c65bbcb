//! Top-level members of a JSON object on borrowed bytes, without a tree.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting that is taken.
const DEPTH_MAX: u32 = 128;

/// The members of `names` in a JSON object, each at most once, as raw text.
pub(crate) struct Members<'b, const N: usize>(pub(crate) [Option<&'b str>; N]);

/// Why a text is not the JSON object that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotObject {
    /// Not JSON, not an object, or not UTF-8.
    Form,
    /// Deeper than the cap.
    Depth,
    /// A named member stands there twice: parsers differ in which one they take.
    Twice,
}

/// Finds the members `names` of the object in `bytes`, and proves that all of it is JSON.
pub(crate) fn members<'b, const N: usize>(
    bytes: &'b [u8],
    names: [&'static str; N],
) -> Result<Members<'b, N>, NotObject> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotObject::Form)?;
    if is_deep(bytes) {
        return Err(NotObject::Depth);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Seed { names };
    let found = seed.read(&mut reader).map_err(|_| NotObject::Form)?;
    reader.end().map_err(|_| NotObject::Form)?;
    found.ok_or(NotObject::Twice)
}

/// Where `part`, a piece of `whole`, stands in it.
pub(crate) fn span(whole: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// A JSON string as text; `None` when the raw value is none.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
    let Text(text) = serde_json::from_str(raw).ok()?;
    Some(text)
}

fn is_deep(bytes: &[u8]) -> bool {
    // Almost every body has fewer brackets than levels that are allowed.
    if memchr::memchr2_iter(b'{', b'[', bytes)
        .nth(DEPTH_MAX as usize)
        .is_none()
    {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

struct Seed<const N: usize> {
    names: [&'static str; N],
}

impl<const N: usize> Seed<N> {
    /// `None` when a named member stands there twice.
    fn read<'de, D: Deserializer<'de>>(
        self,
        reader: D,
    ) -> Result<Option<Members<'de, N>>, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Seed<N> {
    type Value = Option<Members<'de, N>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut twice = false;
        while let Some(Key(key)) = map.next_key()? {
            match self.names.iter().position(|name| *name == key) {
                Some(at) => {
                    let raw: &'de RawValue = map.next_value()?;
                    twice |= found[at].replace(raw.get()).is_some();
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((!twice).then_some(Members(found)))
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'k>(Cow<'k, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        reader.deserialize_str(Text)
    }
}
