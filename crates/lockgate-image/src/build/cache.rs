//! What builds remember: records by key, layers by content, copied paths by name. All of it may
//! be deleted; a damaged entry counts as absent.

use std::collections::BTreeMap;

use fs_err as fs;
use lockgate_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::prepare::Prepared;
use super::{BuildRequest, Builder, CHANGED_PATHS_MAX, Changes, DockerfileSource, ImageRecord};
use crate::context::Context;
use crate::key::{BuildKey, describe};
use crate::layer::Layer;
use crate::oci::{self, Descriptor};
use crate::store::write_atomically;

/// Wire form of an [`ImageRecord`], version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordV1 {
    version: u32,
    #[serde(with = "oci::digest_text")]
    digest: Digest,
    #[serde(with = "oci::digest_text")]
    config_digest: Digest,
    #[serde(with = "oci::digest_list")]
    diff_ids: Vec<Digest>,
    size_bytes: u64,
    built_at_ns: i64,
}

/// Wire form of a [`Layer`], version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerV1 {
    version: u32,
    descriptor: Descriptor,
    #[serde(with = "oci::digest_text")]
    diff_id: Digest,
}

/// The record of a key, if its image is complete in the store.
pub(super) fn find_record(builder: &Builder, key: BuildKey) -> Option<ImageRecord> {
    let bytes = fs::read(builder.cache_dir().join("builds").join(key.hex())).ok()?;
    let record: RecordV1 = serde_json::from_slice(&bytes)
        .ok()
        .filter(|r: &RecordV1| r.version == 1)?;
    let image = builder.store().image(&record.digest).ok()?;
    let complete = image
        .manifest
        .layers
        .iter()
        .all(|layer| builder.store().has(&layer.digest));
    complete.then_some(ImageRecord {
        key,
        digest: record.digest,
        config_digest: record.config_digest,
        diff_ids: record.diff_ids,
        size_bytes: record.size_bytes,
        built_at: Timestamp(record.built_at_ns),
    })
}

pub(super) fn save_record(builder: &Builder, record: &ImageRecord) -> std::io::Result<()> {
    let wire = RecordV1 {
        version: 1,
        digest: record.digest,
        config_digest: record.config_digest,
        diff_ids: record.diff_ids.clone(),
        size_bytes: record.size_bytes,
        built_at_ns: record.built_at.0,
    };
    write_atomically(
        &builder.cache_dir().join("builds").join(record.key.hex()),
        &serde_json::to_vec(&wire)?,
    )
}

/// A layer packed before from exactly these entries, if it is still in the store.
pub(super) fn find_layer(builder: &Builder, name: &str) -> Option<Layer> {
    let bytes = fs::read(builder.cache_dir().join("layers").join(name)).ok()?;
    let wire: LayerV1 = serde_json::from_slice(&bytes)
        .ok()
        .filter(|l: &LayerV1| l.version == 1)?;
    builder
        .store()
        .has(&wire.descriptor.digest)
        .then_some(Layer {
            descriptor: wire.descriptor,
            diff_id: wire.diff_id,
        })
}

pub(super) fn save_layer(builder: &Builder, name: &str, layer: &Layer) -> std::io::Result<()> {
    let wire = LayerV1 {
        version: 1,
        descriptor: layer.descriptor.clone(),
        diff_id: layer.diff_id,
    };
    write_atomically(
        &builder.cache_dir().join("layers").join(name),
        &serde_json::to_vec(&wire)?,
    )
}

/// Name under which the copied paths of a build are remembered.
pub(super) fn tree_id(request: &BuildRequest) -> String {
    let context = match &request.context {
        Context::Folder(root) => root.display().to_string(),
        Context::Files(_) => String::new(),
    };
    let dockerfile = match &request.dockerfile {
        DockerfileSource::Path(path) => path.display().to_string(),
        DockerfileSource::Inline { name, .. } => name.clone(),
    };
    let target = request.target.as_deref().unwrap_or("");
    let text = [request.name.as_str(), &context, &dockerfile, target].join("\0");
    blake3::hash(text.as_bytes()).to_hex().as_str()[..32].to_owned()
}

/// Path → state of everything copied from the context. Equal paths of two COPYs are merged.
fn states(prepared: &Prepared) -> BTreeMap<String, u64> {
    let mut states = BTreeMap::new();
    for picked in &prepared.picked {
        for (item, hash) in picked.selected.items.iter().zip(&picked.hashes) {
            let (mut path, state) = describe(item, *hash);
            if path.is_empty() {
                path = picked
                    .selected
                    .rename
                    .as_deref()
                    .map(crate::context::show)
                    .unwrap_or_default();
            }
            if !path.is_empty() {
                states
                    .entry(path)
                    .and_modify(|s: &mut u64| *s = s.rotate_left(1) ^ state)
                    .or_insert(state);
            }
        }
    }
    states
}

/// Remembers what this build copied: one `state path` line each, sorted.
pub(super) fn save_states(builder: &Builder, prepared: &Prepared) -> std::io::Result<()> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (path, state) in states(prepared) {
        // A line feed in a name would split the line; it only makes the report less exact.
        let _ = writeln!(text, "{state:016x} {}", path.replace('\n', "?"));
    }
    write_atomically(
        &builder.cache_dir().join("trees").join(&prepared.tree_id),
        text.as_bytes(),
    )
}

/// What differs from the remembered build; nothing if there is none.
pub(super) fn changes(builder: &Builder, prepared: &Prepared) -> Changes {
    let Ok(text) = fs::read_to_string(builder.cache_dir().join("trees").join(&prepared.tree_id))
    else {
        return Changes::default();
    };
    let mut before: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(state, path)| (path, state))
        .collect();
    let mut changed: Vec<String> = Vec::new();
    for (path, state) in states(prepared) {
        let path = path.replace('\n', "?");
        if before.remove(path.as_str()) != Some(&format!("{state:016x}")) {
            changed.push(path);
        }
    }
    changed.extend(before.into_keys().map(str::to_owned));
    changed.sort();
    let count = changed.len();
    changed.truncate(CHANGED_PATHS_MAX);
    Changes {
        paths: changed,
        count,
    }
}
