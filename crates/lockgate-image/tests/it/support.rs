//! A store, a builder and a context in one temporary folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockgate_image::{
    BuildError, BuildPlan, BuildRequest, Builder, Context, DockerfileSource, ImageRecord, OsArch,
    Silent, Store, StoreOnly,
};
use lockgate_model::{Clock, Digest, Timestamp};

/// A clock that stands still.
pub(crate) struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_892_403)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Everything a test of a build needs.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) builder: Builder,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// One whose temporary folder is in `parent`.
    pub(crate) fn below(parent: &Path) -> Self {
        let folder = tempfile::tempdir_in(parent).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let builder = Builder::new(
            store.clone(),
            folder.path().join("cache"),
            Arc::new(StoreOnly),
            Arc::new(Frozen),
        );
        let bench = Self {
            folder,
            store,
            builder,
        };
        fs_err::create_dir_all(bench.context()).unwrap();
        bench
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    /// Writes a file of the context.
    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let full = self.context().join(path);
        fs_err::create_dir_all(full.parent().unwrap()).unwrap();
        fs_err::write(&full, text).unwrap();
        full
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        BuildRequest {
            dockerfile: DockerfileSource::Inline {
                name: "Dockerfile".to_owned(),
                text: dockerfile.to_owned(),
            },
            ..BuildRequest::new(
                "app",
                Context::Folder(self.context()),
                OsArch::linux("amd64"),
            )
        }
    }

    pub(crate) async fn plan(&self, dockerfile: &str) -> Result<BuildPlan, BuildError> {
        self.builder.plan(&self.request(dockerfile)).await
    }

    pub(crate) async fn build(&self, dockerfile: &str) -> Result<ImageRecord, BuildError> {
        let plan = self.plan(dockerfile).await?;
        self.builder.build(&plan, &Silent).await
    }

    /// Unpacks and lists: path → kind, mode and content.
    pub(crate) fn tree(&self, record: &ImageRecord) -> BTreeMap<String, String> {
        let dest = tempfile::tempdir_in(self.folder.path()).unwrap();
        let root = dest.path().join("root");
        lockgate_image::unpack(
            &self.store,
            &record.digest,
            &root,
            lockgate_image::Owners::Caller,
        )
        .unwrap();
        let mut tree = BTreeMap::new();
        list(&root, &root, &mut tree);
        tree
    }
}

fn list(root: &Path, folder: &Path, out: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            out.insert(
                name,
                format!("-> {}", fs_err::read_link(&path).unwrap().display()),
            );
        } else if metadata.is_dir() {
            out.insert(name, format!("{mode:o}/"));
            list(root, &path, out);
        } else {
            out.insert(
                name,
                format!(
                    "{mode:o} {}",
                    String::from_utf8_lossy(&fs_err::read(&path).unwrap())
                ),
            );
        }
    }
}

/// The listing in the form of a test's expectation.
pub(crate) fn expect(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter()
        .map(|(path, what)| ((*path).to_owned(), (*what).to_owned()))
        .collect()
}

/// An image of the store with these uncompressed layers.
pub(crate) fn layered_image(bench: &Bench, layers: &[Vec<u8>]) -> Digest {
    let plain = |layer: &Vec<u8>| {
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        (layer.clone(), layer.clone(), media_type)
    };
    image_of_layers(bench, &layers.iter().map(plain).collect::<Vec<_>>())
}

/// An image of these layers: the archive, the blob that holds it, the blob's media type.
pub(crate) fn image_of_layers(bench: &Bench, layers: &[(Vec<u8>, Vec<u8>, &str)]) -> Digest {
    let mut descriptors = Vec::new();
    for (_, blob, media_type) in layers {
        let blob = bench.store.write_blob(blob).unwrap();
        descriptors.push(serde_json::json!({
            "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.size,
        }));
    }
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|(tar, ..)| Digest::of(tar).to_string())
        .collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Entrypoint": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": layers.iter().map(|_| serde_json::json!({"created_by": "base"})).collect::<Vec<_>>(),
    });
    let config = bench
        .store
        .write_blob(config.to_string().as_bytes())
        .unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest.to_string(), "size": config.size},
        "layers": descriptors,
    });
    bench
        .store
        .write_blob(manifest.to_string().as_bytes())
        .unwrap()
        .digest
}

/// A base image of one layer with these members: path, type, link target.
pub(crate) fn base_image(bench: &Bench, members: &[(&str, u8, &str)]) -> Digest {
    let mut layer: Vec<u8> = members
        .iter()
        .flat_map(|(path, flag, link)| crate::hostile::header(path, *flag, 0, link))
        .collect();
    layer.extend([0; 1024]);
    layered_image(bench, &[layer])
}
