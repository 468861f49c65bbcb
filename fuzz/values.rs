//! Property values from the bytes of a fuzzer: every kind, nested as deep as the bytes reach. The
//! crates' fuzzing modules include this file by its path.

use lockgate_model::Urn;
use lockgate_model::value::{
    Archive, ArchiveSource, Asset, AssetSource, PropertyMap, ResourceReference, Value,
};

/// Deepest nesting that is made; well below what encoders of ours must take.
const DEPTH_MAX: u32 = 12;
/// Most entries of one list or map.
const ENTRIES_MAX: u8 = 6;

/// Reads choices and texts from the bytes; zeros when they end.
pub(crate) struct Bytes<'b>(pub(crate) &'b [u8]);

impl Bytes<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> f64 {
        let mut bits = [0; 8];
        for byte in &mut bits {
            *byte = self.byte();
        }
        let number = f64::from_le_bytes(bits);
        // A number that is not equal to itself cannot be compared, and no JSON has infinities.
        if number.is_finite() { number } else { 0.5 }
    }

    /// A short text, in whatever letters the bytes make.
    pub(crate) fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 12).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// A text that is not empty.
    fn name(&mut self) -> String {
        let text = self.text();
        if text.is_empty() {
            "n".to_owned()
        } else {
            text
        }
    }

    fn map(&mut self, depth: u32) -> PropertyMap {
        let entries = self.byte() % ENTRIES_MAX;
        (0..entries)
            .map(|_| (self.text(), self.nested(depth)))
            .collect()
    }

    /// One value.
    pub(crate) fn value(&mut self) -> Value {
        self.nested(0)
    }

    fn nested(&mut self, depth: u32) -> Value {
        let choice = if depth < DEPTH_MAX {
            self.byte() % 12
        } else {
            self.byte() % 6
        };
        match choice {
            0 => Value::Null,
            1 => Value::Bool(self.byte() & 1 != 0),
            2 => Value::Number(self.number()),
            3 => Value::String(self.text()),
            4 => Value::Asset(self.asset()),
            5 => Value::Reference(ResourceReference {
                urn: Urn::new("dev", "shop", None, "t:m:T", &self.text()),
                id: (self.byte() & 1 != 0).then(|| self.text()),
                package_version: (self.byte() & 1 != 0).then(|| self.name()),
            }),
            6 => Value::List(
                (0..self.byte() % ENTRIES_MAX)
                    .map(|_| self.nested(depth + 1))
                    .collect(),
            ),
            7 | 8 => Value::Map(self.map(depth + 1)),
            9 | 10 => self.nested(depth + 1).into_secret(),
            _ => Value::Archive(self.archive(depth + 1)),
        }
    }

    fn hash(&mut self) -> Option<String> {
        (self.byte() & 1 != 0).then(|| "ab".repeat(32))
    }

    fn asset(&mut self) -> Asset {
        let hash = self.hash();
        let source = match self.byte() % 3 {
            0 => AssetSource::Text(self.text()),
            1 => AssetSource::Path(self.name()),
            _ => AssetSource::Uri(self.name()),
        };
        Asset { hash, source }
    }

    fn archive(&mut self, depth: u32) -> Archive {
        let hash = self.hash();
        let source = match self.byte() % 3 {
            0 => ArchiveSource::Path(self.name()),
            1 => ArchiveSource::Uri(self.name()),
            _ => ArchiveSource::Assets(self.map(depth)),
        };
        Archive { hash, source }
    }
}
