//! From a reference to a digest that stays: the rule that chooses a tag, the lock that remembers
//! the choice, and one answer for a whole run.

mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_image::OsArch;
use lockgate_model::{Digest, ImageReference};
use parking_lot::Mutex;

use crate::images::{Images, ImagesError};

pub use rule::{PinRule, RULES};

/// What the tag is when the reference has none and the rule chooses none.
const DEFAULT_TAG: &str = "latest";

/// What is pinned, by which rule.
#[derive(Clone, Debug)]
pub struct PinSpec {
    /// The reference.
    pub image: ImageReference,
    /// How a tag is chosen.
    pub rule: PinRule,
}

impl PinSpec {
    /// Name of the pin in the lock: the reference, and the rule where it is not the plain one.
    pub fn key(&self) -> String {
        match self.rule.range() {
            _ if self.rule.name() == "digest" => self.image.to_string(),
            Some(range) => format!("{} {} {range}", self.image, self.rule.name()),
            None => format!("{} {}", self.image, self.rule.name()),
        }
    }
}

/// What a reference was pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The tag that was chosen.
    pub tag: Option<String>,
    /// Digest of the index, or of the manifest where there is none.
    pub digest: Digest,
    /// Manifest digests by `os/arch`.
    pub platforms: BTreeMap<String, Digest>,
}

/// `lockgate.lock`, seen from here; the file is the binary's.
pub trait PinLock: Send + Sync {
    /// The entry, if there is one made by the same rule.
    fn find(&self, spec: &PinSpec) -> Result<Option<Locked>, String>;
    /// Writes the entry. Called outside previews only.
    fn record(&self, spec: &PinSpec, locked: &Locked) -> Result<(), String>;
}

/// Resolves pins; what was resolved once is the same until the end of the run.
pub struct Pins {
    images: Arc<dyn Images>,
    lock: Arc<dyn PinLock>,
    known: Mutex<BTreeMap<String, Locked>>,
}

impl Pins {
    /// Nothing is resolved yet.
    pub fn new(images: Arc<dyn Images>, lock: Arc<dyn PinLock>) -> Self {
        Self {
            images,
            lock,
            known: Mutex::default(),
        }
    }

    /// The entry in the lock.
    pub fn locked(&self, spec: &PinSpec) -> Result<Option<Locked>, ImagesError> {
        self.lock.find(spec).map_err(lock_failed)
    }

    /// What `spec` is pinned to: as locked, else as the registry says now. The manifest for
    /// `os_arch` is among the platforms.
    pub async fn resolve(
        &self,
        spec: &PinSpec,
        os_arch: &OsArch,
    ) -> Result<(Locked, Digest), ImagesError> {
        let key = spec.key();
        let known = self.known.lock().get(&key).cloned();
        let entry = match known {
            Some(known) => Some(known),
            None => self.locked(spec)?,
        };
        let (mut entry, manifest) = match entry {
            None => self.resolve_anew(spec, os_arch).await?,
            Some(entry) => match entry.platforms.get(&os_arch.to_string()) {
                Some(manifest) => (entry.clone(), *manifest),
                // Locked on another kind of machine: the digest stays, its manifest is found.
                None => {
                    let pinned = spec.image.with_digest(entry.digest);
                    let found = self.images.resolve(&pinned, os_arch).await?;
                    (entry, found.manifest)
                }
            },
        };
        entry.platforms.insert(os_arch.to_string(), manifest);
        self.known.lock().insert(key, entry.clone());
        Ok((entry, manifest))
    }

    /// What the registry says now, whatever is locked.
    pub async fn resolve_anew(
        &self,
        spec: &PinSpec,
        os_arch: &OsArch,
    ) -> Result<(Locked, Digest), ImagesError> {
        let mut image = spec.image.clone();
        if spec.rule.needs_tags() {
            let tags = self.images.tags(&image).await?;
            let chosen = spec.rule.choose(&tags).map_err(|reason| ImagesError {
                message: format!("no tag of `{image}` fits: {reason}"),
                hints: vec!["widen `range` or `filter`".into()],
            })?;
            image.tag = Some(chosen);
        } else if image.tag.is_none() {
            image.tag = Some(DEFAULT_TAG.to_owned());
        }
        let found = self.images.resolve(&image, os_arch).await?;
        let locked = Locked {
            tag: image.tag,
            digest: found.index,
            platforms: [(os_arch.to_string(), found.manifest)].into(),
        };
        Ok((locked, found.manifest))
    }

    /// Writes what was resolved to the lock, unless it says so already.
    pub fn record(&self, spec: &PinSpec, locked: &Locked) -> Result<(), ImagesError> {
        if self.locked(spec)?.as_ref() == Some(locked) {
            return Ok(());
        }
        self.lock.record(spec, locked).map_err(lock_failed)
    }
}

fn lock_failed(message: String) -> ImagesError {
    ImagesError {
        message,
        hints: Vec::new(),
    }
}
