//! From a reference to a digest that stays: the rule that chooses a tag, the lock that remembers
//! the choice, and one answer for a whole run.

mod age;
mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_image::OsArch;
use lockgate_model::{Clock, Digest, ImageReference, Timestamp};
use parking_lot::Mutex;

use crate::images::{Images, ImagesError};

pub use age::Young;
pub use rule::{PinRule, RULES};

/// What the tag is when the reference has none and the rule chooses none.
const DEFAULT_TAG: &str = "latest";

/// Tags whose age is looked at before none is said to be old enough; each costs two documents.
const AGED_MAX: usize = 20;

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
    /// When the image was created, if the rule asks for an age.
    pub created: Option<Timestamp>,
}

/// What a reference is pinned to, for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The entry.
    pub locked: Locked,
    /// The manifest for that machine.
    pub manifest: Digest,
    /// Better tags that were passed over for their age, the best first.
    pub young: Vec<Young>,
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
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<String, Locked>>,
}

impl Pins {
    /// Nothing is resolved yet. The clock tells the age of images.
    pub fn new(images: Arc<dyn Images>, lock: Arc<dyn PinLock>, clock: Arc<dyn Clock>) -> Self {
        Self {
            images,
            lock,
            clock,
            known: Mutex::default(),
        }
    }

    /// The entry in the lock.
    pub fn locked(&self, spec: &PinSpec) -> Result<Option<Locked>, ImagesError> {
        self.lock.find(spec).map_err(lock_failed)
    }

    /// What `spec` is pinned to: as locked, else as the registry says now. The manifest for
    /// `os_arch` is among the platforms.
    pub async fn resolve(&self, spec: &PinSpec, os_arch: &OsArch) -> Result<Pinned, ImagesError> {
        let key = spec.key();
        let known = self.known.lock().get(&key).cloned();
        let entry = match known {
            Some(known) => Some(known),
            None => self.locked(spec)?,
        };
        let mut pinned = match entry {
            None => match self.resolve_anew(spec, os_arch).await? {
                Ok(pinned) => pinned,
                Err(young) => return Err(too_young(spec, &young)),
            },
            Some(entry) => {
                let manifest = match entry.platforms.get(&os_arch.to_string()) {
                    Some(manifest) => *manifest,
                    // Locked on another kind of machine: the digest stays, its manifest is found.
                    None => {
                        let pinned = spec.image.with_digest(entry.digest);
                        self.images.resolve(&pinned, os_arch).await?.manifest
                    }
                };
                Pinned {
                    locked: entry,
                    manifest,
                    young: Vec::new(),
                }
            }
        };
        let platforms = &mut pinned.locked.platforms;
        platforms.insert(os_arch.to_string(), pinned.manifest);
        self.known.lock().insert(key, pinned.locked.clone());
        Ok(pinned)
    }

    /// What the registry says now, whatever is locked. The inner error is that all tags which fit
    /// are too young.
    pub async fn resolve_anew(
        &self,
        spec: &PinSpec,
        os_arch: &OsArch,
    ) -> Result<Result<Pinned, Vec<Young>>, ImagesError> {
        let mut image = spec.image.clone();
        let tags = if spec.rule.needs_tags() {
            let tags = self.images.tags(&image).await?;
            spec.rule.ranked(&tags).map_err(|reason| ImagesError {
                message: format!("no tag of `{image}` fits: {reason}"),
                hints: vec!["widen `range` or `filter`".into()],
            })?
        } else {
            vec![image.tag.unwrap_or_else(|| DEFAULT_TAG.to_owned())]
        };
        let mut young = Vec::new();
        for tag in tags.into_iter().take(AGED_MAX) {
            image.tag = Some(tag.clone());
            let found = self.images.resolve(&image, os_arch).await?;
            if let Some(age) = spec.rule.min_age()
                && let Err(until) = age::check(found.created, age, self.clock.now())
            {
                young.push(Young { tag, until });
                continue;
            }
            let locked = Locked {
                tag: Some(tag),
                digest: found.index,
                platforms: [(os_arch.to_string(), found.manifest)].into(),
                created: found.created.filter(|_| spec.rule.min_age().is_some()),
            };
            return Ok(Ok(Pinned {
                locked,
                manifest: found.manifest,
                young,
            }));
        }
        Ok(Err(young))
    }

    /// Writes what was resolved to the lock, unless it says so already.
    pub fn record(&self, spec: &PinSpec, locked: &Locked) -> Result<(), ImagesError> {
        if self.locked(spec)?.as_ref() == Some(locked) {
            return Ok(());
        }
        self.lock.record(spec, locked).map_err(lock_failed)
    }
}

fn too_young(spec: &PinSpec, young: &[Young]) -> ImagesError {
    let (image, age) = (&spec.image, spec.rule.min_age_text().unwrap_or_default());
    let tags: Vec<String> = young.iter().map(Young::to_string).collect();
    ImagesError {
        message: format!("no tag of `{image}` is `{age}` old: {}", tags.join(", ")),
        hints: vec!["wait, lower `minAge`, or pin a digest that you have looked at".into()],
    }
}

fn lock_failed(message: String) -> ImagesError {
    ImagesError {
        message,
        hints: Vec::new(),
    }
}
