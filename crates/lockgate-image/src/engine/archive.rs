//! An image as `docker save` writes it, into the store. Engines to 24 write `<id>/layer.tar`, later
//! ones an OCI layout; both have a `manifest.json` that names configuration and layers.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::EngineError;
use crate::layer::{Layer, pack_archive};
use crate::oci::{Descriptor, ImageConfig};
use crate::store::{DOCUMENT_BYTES_MAX, Image, Store, write_image};
use crate::tar::{Limits, MemberKind, TarError, TarReader, clean_path};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    layers: Vec<String>,
}

/// Small members, and links between members, by cleaned path.
#[derive(Default)]
struct Overview {
    documents: BTreeMap<Vec<u8>, Vec<u8>>,
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads the archive at `path`. A layer that one of `bases` has, too, is taken from there, so
/// that its blob is the registry's and can be mounted.
pub(super) fn import(path: &Path, bases: &[Image], store: &Store) -> Result<Image, EngineError> {
    let overview = survey(path)?;
    let wrong = |reason: &str| EngineError::Archive(reason.to_owned());
    let document = |name: &str| {
        let found = clean_path(name.as_bytes()).and_then(|n| overview.documents.get(&n));
        found.ok_or_else(|| wrong(&format!("it has no `{name}`")))
    };
    let entries: Vec<Entry> = serde_json::from_slice(document("manifest.json")?)
        .map_err(|e| wrong(&format!("`manifest.json`: {e}")))?;
    let [entry] = entries.as_slice() else {
        return Err(wrong("it does not hold exactly one image"));
    };
    let config: ImageConfig = serde_json::from_slice(document(&entry.config)?)
        .map_err(|e| wrong(&format!("the configuration: {e}")))?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != entry.layers.len() {
        return Err(wrong("layers and diffIDs do not match"));
    }
    let mut wanted: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut layers: Vec<Option<Descriptor>> = Vec::new();
    for (i, (name, diff_id)) in entry.layers.iter().zip(diff_ids).enumerate() {
        let known = bases.iter().find_map(|base| {
            let at = base
                .config
                .rootfs
                .diff_ids
                .iter()
                .position(|d| d == diff_id)?;
            let layer = base.manifest.layers.get(at)?;
            store.has(&layer.digest).then(|| layer.clone())
        });
        if known.is_none() {
            let name = clean_path(name.as_bytes()).unwrap_or_default();
            let name = overview.links.get(&name).cloned().unwrap_or(name);
            wanted.entry(name).or_default().push(i);
        }
        layers.push(known);
    }
    for (name, places) in pack(path, &wanted, store)? {
        for i in places {
            if diff_ids[i] != name.diff_id {
                return Err(wrong("a layer is not what its diffID says"));
            }
            layers[i] = Some(name.descriptor.clone());
        }
    }
    let layers: Option<Vec<Descriptor>> = layers.into_iter().collect();
    let layers = layers.ok_or_else(|| wrong("a layer is missing"))?;
    Ok(write_image(store, &config, layers)?)
}

fn open(path: &Path) -> Result<TarReader<BufReader<fs_err::File>>, EngineError> {
    let file = fs_err::File::open(path).map_err(|e| EngineError::Export(e.to_string()))?;
    Ok(TarReader::new(BufReader::new(file), Limits::default()))
}

fn malformed(error: TarError) -> EngineError {
    EngineError::Archive(error.to_string())
}

fn unreadable(error: io::Error) -> EngineError {
    EngineError::Archive(error.to_string())
}

/// First pass: JSON documents and links.
fn survey(path: &Path) -> Result<Overview, EngineError> {
    let mut reader = open(path)?;
    let mut overview = Overview::default();
    while let Some(member) = reader.next_member().map_err(malformed)? {
        match member.kind {
            MemberKind::Symlink => {
                // Relative to the folder of the link.
                let folder = member.path.iter().rposition(|b| *b == b'/');
                let folder = &member.path[..folder.map_or(0, |at| at + 1)];
                let target = normalise(&[folder, &member.link].concat());
                overview.links.insert(member.path, target);
            }
            MemberKind::HardLink => {
                overview.links.insert(member.path, member.link);
            }
            MemberKind::File if member.size <= DOCUMENT_BYTES_MAX => {
                let mut head = [0; 1];
                let mut content = reader.content();
                // Only what can be JSON is kept: small layers are not.
                if content.read(&mut head).map_err(unreadable)? == 1 && b"{[".contains(&head[0]) {
                    let mut bytes = head.to_vec();
                    content.read_to_end(&mut bytes).map_err(unreadable)?;
                    overview.documents.insert(member.path, bytes);
                }
            }
            _ => {}
        }
    }
    Ok(overview)
}

/// A path without `..`.
fn normalise(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Second pass: packs the wanted members as layers.
fn pack(
    path: &Path,
    wanted: &BTreeMap<Vec<u8>, Vec<usize>>,
    store: &Store,
) -> Result<Vec<(Layer, Vec<usize>)>, EngineError> {
    let mut reader = open(path)?;
    let mut packed = Vec::new();
    while let Some(member) = reader.next_member().map_err(malformed)? {
        if let (MemberKind::File, Some(places)) = (member.kind, wanted.get(&member.path)) {
            let layer = pack_archive(store, &mut reader.content())?;
            packed.push((layer, places.clone()));
        }
    }
    Ok(packed)
}
