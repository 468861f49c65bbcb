//! What an image holds, as GNU tar unpacks it, and how two of them differ.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_image::Store;
use lockgate_model::Digest;
use lockgate_testkit::docker::Docker;
use serde_json::Value;

/// Differences that are spelled out.
const SHOWN_MAX: usize = 3;

/// What a builder made of a Dockerfile.
pub(super) enum Outcome {
    Built(Built),
    Refused(String),
}

/// An image, comparable.
pub(super) struct Built {
    /// Path → what is there.
    tree: BTreeMap<String, String>,
    /// Field → value, empty ones left out.
    config: BTreeMap<String, Value>,
}

/// Images of an engine, saved to a folder.
pub(super) struct Saved {
    folder: PathBuf,
    /// Layers by the ID of the image.
    layers: BTreeMap<String, Vec<String>>,
}

/// Saves all images at once.
pub(super) fn save<'a>(
    docker: &Docker,
    ids: impl Iterator<Item = &'a str>,
    folder: &Path,
) -> Saved {
    fs_err::create_dir(folder).unwrap();
    let archive = folder.join("all.tar");
    let saved = docker
        .client()
        .args(["save", "-o"])
        .arg(&archive)
        .args(ids)
        .status();
    assert!(saved.unwrap().success());
    unpack(&archive, folder);
    let manifest = fs_err::read(folder.join("manifest.json")).unwrap();
    let manifest: Vec<Value> = serde_json::from_slice(&manifest).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let layers = manifest.iter().map(|entry| {
        let layers = entry["Layers"].as_array().unwrap().iter().map(text);
        (text(&entry["Config"]), layers.collect())
    });
    Saved {
        folder: folder.to_owned(),
        layers: layers.collect(),
    }
}

fn unpack(archive: &Path, folder: &Path) {
    let output = Command::new("tar")
        .args(["--numeric-owner", "-xpf"])
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", archive.display());
}

impl Built {
    pub(super) fn of_saved(saved: &Saved, id: &str, root: &Path) -> Self {
        let config = format!("{}.json", id.trim_start_matches("sha256:"));
        fs_err::create_dir(root).unwrap();
        for layer in &saved.layers[&config] {
            unpack(&saved.folder.join(layer), root);
        }
        let config = fs_err::read(saved.folder.join(config)).unwrap();
        Self::new(root, &config)
    }

    pub(super) fn of_store(store: &Store, digest: &Digest, root: &Path) -> Self {
        let image = store.image(digest).unwrap();
        fs_err::create_dir(root).unwrap();
        for layer in &image.manifest.layers {
            unpack(&store.blob_path(&layer.digest), root);
        }
        let config = fs_err::read(store.blob_path(&image.manifest.config.digest)).unwrap();
        Self::new(root, &config)
    }

    fn new(root: &Path, config: &[u8]) -> Self {
        let mut tree = BTreeMap::new();
        list(root, root, &mut tree);
        let document: Value = serde_json::from_slice(config).unwrap();
        let top = ["author", "architecture", "os"].map(|name| (name, &document[name]));
        let runtime = document["config"].as_object().into_iter().flatten();
        // What the engine writes of the container that it would have been built in.
        let of_container = |name: &str| {
            let stdio = name.starts_with("Attach") || name.contains("Stdin") || name == "Tty";
            stdio || ["Hostname", "Domainname", "Image", "ArgsEscaped"].contains(&name)
        };
        let runtime = runtime.filter(|(name, _)| !of_container(name));
        let config = top
            .into_iter()
            .chain(runtime.map(|(name, value)| (name.as_str(), value)))
            .filter(|(_, value)| !is_empty(value))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        Self { tree, config }
    }
}

/// `[]` is not empty: an empty CMD is another command than none.
fn is_empty(value: &Value) -> bool {
    value.is_null() || *value == "" || value.as_object().is_some_and(|map| map.is_empty())
}

fn list(root: &Path, folder: &Path, out: &mut BTreeMap<String, String>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name.ends_with("/.wh..wh..opq") {
            // A new folder where a link was. GNU tar has replaced the link already.
            continue;
        }
        assert!(!name.contains(".wh."), "{name}: a whiteout is not expected");
        let metadata = path.symlink_metadata().unwrap();
        let owner = format!("{}:{}", metadata.uid(), metadata.gid());
        let mode = metadata.mode() & 0o7777;
        let what = if metadata.is_symlink() {
            let target = fs_err::read_link(&path).unwrap();
            format!("link to {} of {owner}", target.display())
        } else if metadata.is_dir() {
            list(root, &path, out);
            format!("folder {mode:o} of {owner}")
        } else {
            let content = Digest::of(&fs_err::read(&path).unwrap()).hex();
            format!("file {mode:o} of {owner} with {}", &content[..12])
        };
        out.insert(name, what);
    }
}

/// How the two differ, for a cell; `None` if they do not.
pub(super) fn differences(ours: &Outcome, theirs: &Outcome) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Outcome::Built(ours), Outcome::Built(theirs)) => (ours, theirs),
        (Outcome::Refused(_), Outcome::Refused(_)) => return None,
        (Outcome::Built(_), Outcome::Refused(_)) => {
            return Some("Lockgate builds it, the engine refuses it".to_owned());
        }
        (Outcome::Refused(_), Outcome::Built(_)) => {
            return Some("the engine builds it, Lockgate refuses it".to_owned());
        }
    };
    let mut found = Vec::new();
    compare(&ours.tree, &theirs.tree, |path, ours, theirs| {
        let show = |what: Option<&String>| what.map_or("nothing".to_owned(), String::clone);
        found.push(format!(
            "`/{path}` is {}, in the engine {}",
            show(ours),
            show(theirs)
        ));
    });
    compare(&ours.config, &theirs.config, |name, ours, theirs| {
        let show = |what: Option<&Value>| what.map_or("absent".to_owned(), |v| format!("`{v}`"));
        found.push(format!(
            "`{name}` is {}, in the engine {}",
            show(ours),
            show(theirs)
        ));
    });
    let more = found.len().saturating_sub(SHOWN_MAX);
    found.truncate(SHOWN_MAX);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

fn compare<T: PartialEq>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    mut differs: impl FnMut(&str, Option<&T>, Option<&T>),
) {
    let names = ours
        .keys()
        .chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    for name in names {
        let (ours, theirs) = (ours.get(name), theirs.get(name));
        if ours != theirs {
            differs(name, ours, theirs);
        }
    }
}

/// What two sides that do not differ have done.
pub(super) fn agreement(ours: &Outcome) -> &'static str {
    match ours {
        Outcome::Built(_) => "same",
        Outcome::Refused(_) => "both refuse it",
    }
}

/// The words of the side that refused, for whoever looks into a difference.
pub(super) fn reason(ours: &Outcome, theirs: &Outcome) -> String {
    let refused = |outcome: &Outcome| match outcome {
        Outcome::Refused(text) => text.trim().replace('\n', " "),
        Outcome::Built(_) => String::new(),
    };
    format!("{} {}", refused(ours), refused(theirs))
}
