//! The build key: one name for everything that decides an image's content. A known key means a
//! known digest, before anything is built.

use std::fmt;

use lockgate_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::context::{ContentHash, Item, ItemKind, Selected, show};
use crate::layer::LAYER_FORMAT;
use crate::oci::ImageConfig;
use crate::recipe::{Action, Base, Copy, Origin, Source, Stage};

/// Number of the record below. A change of what is hashed, or how, gets a new one.
const KEY_SCHEMA: u64 = 2;

/// SHA-256 over the canonical record of a build (images.md §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildKey(Digest);

impl BuildKey {
    pub(crate) fn of(record: Digest) -> Self {
        Self(record)
    }

    /// 64 hex digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// Parses what [`Self::hex`] gave.
    pub fn parse(hex: &str) -> Option<Self> {
        Digest::parse(&format!("sha256:{hex}")).ok().map(Self)
    }
}

impl fmt::Display for BuildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for BuildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Length-prefixed fields into a hash: no two records share their bytes.
pub(crate) struct Record(Sha256);

impl Record {
    pub(crate) fn new(kind: &str) -> Self {
        let mut record = Self(Sha256::new());
        record.text(kind);
        record
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(number.to_le_bytes());
        self
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

/// Name of what one COPY takes: paths, kinds, executable bits, contents.
pub(crate) type ContextKey = [u8; 32];

/// Hashes a selection. `hash_of` gives the content hash of a file.
pub(crate) fn context_key(
    selected: &Selected,
    hash_of: &dyn Fn(&Item) -> Option<ContentHash>,
) -> ContextKey {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(selected.rename.as_deref().unwrap_or_default());
    for item in &selected.items {
        field(&item.path);
        match &item.kind {
            ItemKind::Folder => field(b"d"),
            ItemKind::Symlink(target) => {
                field(b"l");
                field(target);
            }
            ItemKind::File(_) => {
                field(b"f");
                field(&hash_of(item).unwrap_or_default());
            }
        }
        field(&item.mode.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Key of an assembled image. `config` is the final one without layers; `contexts` has the
/// context key of each COPY of the context, in order.
pub(crate) fn build_key(
    config: &ImageConfig,
    epoch: i64,
    stages: &[(usize, &Stage)],
    contexts: &[ContextKey],
) -> BuildKey {
    let mut record = Record::new("lockgate-build");
    record
        .number(KEY_SCHEMA)
        .text("assembler")
        .number(u64::from(LAYER_FORMAT));
    record.number(epoch.cast_unsigned());
    // Platform, labels, environment, command, history: the configuration holds them all.
    record.bytes(&serde_json::to_vec(config).unwrap_or_default());
    let mut contexts = contexts.iter();
    // Stages count by their place among the reachable ones, so that others do not matter.
    let place = |stage: usize| {
        stages
            .iter()
            .position(|(i, _)| *i == stage)
            .unwrap_or(usize::MAX) as u64
    };
    for (_, stage) in stages {
        record.text("stage");
        match &stage.base {
            Base::Scratch => record.text("scratch"),
            Base::Image(digest) => record.text("image").bytes(digest.as_bytes()),
            Base::Stage(base) => record.text("base").number(place(*base)),
        };
        for step in &stage.steps {
            match &step.action {
                Action::Config => {}
                Action::Workdir { path, user } => {
                    record.text("workdir").text(path).text(user);
                }
                Action::Copy(copy) => {
                    record_copy(&mut record, copy, &place);
                    if copy.origin == Origin::Context {
                        record.bytes(contexts.next().map_or(&[][..], |key| &key[..]));
                    }
                }
            }
        }
    }
    BuildKey(record.finish())
}

fn record_copy(record: &mut Record, copy: &Copy, place: &dyn Fn(usize) -> u64) {
    record.text("copy").text(&copy.dest);
    for flag in [copy.into, copy.parents, copy.link, copy.unpack] {
        record.number(u64::from(flag));
    }
    record.text(&format!("{:?}", copy.chmod));
    record.text(copy.chown.as_deref().unwrap_or(""));
    match &copy.origin {
        Origin::Context => record.text("context"),
        Origin::Stage(stage) => record.text("stage").number(place(*stage)),
        Origin::Image(digest) => record.text("image").bytes(digest.as_bytes()),
    };
    record.number(copy.exclude.len() as u64);
    for pattern in &copy.exclude {
        record.text(pattern);
    }
    record.number(copy.sources.len() as u64);
    for source in &copy.sources {
        match source {
            // What a pattern of the context selects is in its context key; elsewhere the text counts.
            Source::Path { pattern, .. } if copy.origin != Origin::Context => {
                record.text("path").text(pattern)
            }
            Source::Path { .. } => record.text("path"),
            Source::Inline { name, body } => record.text("inline").text(name).text(body),
        };
    }
}

/// A path with its state, to name what changed between two builds.
pub(crate) fn describe(item: &Item, hash: Option<ContentHash>) -> (String, u64) {
    let state = match (&item.kind, hash) {
        (ItemKind::File(_), Some(hash)) => {
            u64::from_le_bytes(hash[..8].try_into().unwrap_or_default()) ^ u64::from(item.mode)
        }
        (ItemKind::Symlink(target), _) => u64::from_le_bytes(
            blake3::hash(target).as_bytes()[..8]
                .try_into()
                .unwrap_or_default(),
        ),
        _ => 0,
    };
    (show(&item.path), state)
}
