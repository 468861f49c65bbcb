//! `lockgate:image:Build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, DiffChanges, DiffKind, DiffRequest,
    DiffResponse, PropertyDiff, ProviderError, ReadRequest, ReadResponse, UpdateRequest,
};
use lockgate_model::image::LOCAL_REGISTRY;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{Digest, PropertyMap, Value};

use super::{images_failed, progress};
use crate::bag;
use crate::check::failure;
use crate::hash::hash_file;
use crate::images::{
    BuildContext, BuildRequest, BuiltImage, ContextFile, DockerfileSource, Images,
};
use crate::package::Kind;

/// What an image is built for unless the program or the stack config says otherwise: never the
/// machine of who builds, or two machines would give two digests.
const OS_ARCH: &str = "linux/amd64";
/// Files of a context given as an archive.
const FILES_MAX: usize = 10_000;
/// Archives inside archives.
const DEPTH_MAX: usize = 16;

/// The resource type.
pub(super) struct Build {
    pub(super) images: Arc<dyn Images>,
    pub(super) project_dir: PathBuf,
    /// From stack config `lockgate:platform`.
    pub(super) os_arch: Option<String>,
}

impl Build {
    /// What to build; `None` when an input is not known yet.
    async fn request(&self, inputs: &PropertyMap) -> Result<Option<BuildRequest>, ProviderError> {
        if inputs.values().any(Value::contains_unknown) {
            return Ok(None);
        }
        let context = inputs.get("context").map(Value::without_secrets);
        let project_dir = self.project_dir.clone();
        // Hashing the files of an archive takes as long as reading them.
        let context = tokio::task::spawn_blocking(move || match context {
            Some(Value::Archive(archive)) => read_archive(&project_dir, &archive),
            Some(Value::String(path)) => Ok(BuildContext::Folder(project_dir.join(path))),
            _ => Err("`context` is missing".to_owned()),
        });
        let context = context
            .await
            .map_err(|error| ProviderError::failed(error.to_string()))?
            .map_err(ProviderError::failed)?;
        let dockerfile = match bag::text(inputs, "dockerfileInline") {
            Some(text) => DockerfileSource::Inline(text.to_owned()),
            None => {
                let path = bag::text(inputs, "dockerfile").unwrap_or("Dockerfile");
                DockerfileSource::Path(path.to_owned())
            }
        };
        let os_arch = bag::text(inputs, "platform").or(self.os_arch.as_deref());
        Ok(Some(BuildRequest {
            context,
            dockerfile,
            args: bag::text_map(inputs, "args"),
            target: bag::text(inputs, "target").map(str::to_owned),
            os_arch: os_arch.unwrap_or(OS_ARCH).to_owned(),
            labels: bag::text_map(inputs, "labels"),
        }))
    }

    /// The image, from the store when its key is known there, else built. Not in the state yet.
    async fn build(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
    ) -> Result<Option<BuiltImage>, ProviderError> {
        let Some(request) = self.request(inputs).await? else {
            return Ok(None);
        };
        let plan = self.images.plan(&request).await.map_err(images_failed)?;
        if plan.known.is_some() {
            return Ok(plan.known);
        }
        let say = |text: String| progress(ctx, text);
        tokio::select! {
            built = self.images.build(&request, &say) => built.map(Some).map_err(images_failed),
            () = ctx.cancel.cancelled() => Err(ProviderError::Cancelled),
        }
    }

    async fn outputs(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if let Some(image) = self.build(ctx, inputs).await? {
            let name = repository(ctx.urn.name());
            let reference = format!("{LOCAL_REGISTRY}/{name}@{}", image.digest);
            outputs.insert("digest".into(), image.digest.to_string().into());
            outputs.insert("ref".into(), reference.into());
            outputs.insert("buildKey".into(), image.key.into());
            outputs.insert("sizeBytes".into(), bag::number(image.size_bytes));
        }
        Ok(outputs)
    }
}

/// A logical name as a repository: lower case, everything else a dash.
fn repository(name: &str) -> String {
    let lower = name.to_lowercase();
    let plain: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let trimmed = plain.trim_matches('-');
    if trimmed.is_empty() {
        "image".to_owned()
    } else {
        trimmed.to_owned()
    }
}

fn read_archive(project_dir: &Path, archive: &Archive) -> Result<BuildContext, String> {
    match &archive.source {
        ArchiveSource::Path(path) => {
            let path = project_dir.join(path);
            if path.is_dir() {
                return Ok(BuildContext::Folder(path));
            }
            Err(format!(
                "`context` is the archive file `{}`, expected a folder or a map of assets",
                path.display()
            ))
        }
        ArchiveSource::Uri(uri) => Err(format!(
            "`context` is `{uri}`, expected a folder or a map of assets"
        )),
        ArchiveSource::Assets(entries) => {
            let mut files = BTreeMap::new();
            read_entries(project_dir, "", entries, 0, &mut files)?;
            Ok(BuildContext::Files(files))
        }
    }
}

fn read_entries(
    project_dir: &Path,
    prefix: &str,
    entries: &PropertyMap,
    depth: usize,
    files: &mut BTreeMap<String, ContextFile>,
) -> Result<(), String> {
    for (name, value) in entries {
        let path = format!("{prefix}{name}");
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        if !path.split('/').all(plain) {
            return Err(format!(
                "`context` holds `{path}`, which is no plain relative path"
            ));
        }
        match value.unsecret() {
            Value::Asset(asset) => {
                files.insert(path.clone(), read_asset(project_dir, &path, asset)?);
            }
            Value::Archive(Archive {
                source: ArchiveSource::Assets(inner),
                ..
            }) if depth < DEPTH_MAX => {
                read_entries(project_dir, &format!("{path}/"), inner, depth + 1, files)?;
            }
            _ => return Err(format!("`context` holds `{path}`, which is no file asset")),
        }
        if files.len() > FILES_MAX {
            return Err(format!("`context` holds more than {FILES_MAX} files"));
        }
    }
    Ok(())
}

/// An asset that was hashed must still be that content: what is built is what was handed over,
/// not what happens to lie at the path by now.
fn read_asset(project_dir: &Path, name: &str, asset: &Asset) -> Result<ContextFile, String> {
    match &asset.source {
        AssetSource::Text(text) => Ok(ContextFile::Bytes(text.as_bytes().into())),
        AssetSource::Uri(uri) => Err(format!(
            "`context` takes `{name}` from `{uri}`, expected a file"
        )),
        AssetSource::Path(path) => {
            let path = project_dir.join(path);
            if let Some(expected) = &asset.hash {
                let found = hash_file(&path).map_err(|error| error.to_string())?;
                if found != *expected {
                    return Err(format!(
                        "`{}` changed after it was handed over as `{name}`",
                        path.display()
                    ));
                }
            }
            Ok(ContextFile::Path(path))
        }
    }
}

fn recorded_digest(outputs: &PropertyMap) -> Option<Digest> {
    Digest::parse(bag::text(outputs, "digest")?).ok()
}

#[async_trait]
impl Kind for Build {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if inputs.contains_key("dockerfile") && inputs.contains_key("dockerfileInline") {
            let reason = "expected one of `dockerfile` and `dockerfileInline`, found both";
            failures.push(failure("dockerfileInline", reason));
        }
        // Arguments are written into the image's history and environment.
        if inputs.get("args").is_some_and(Value::contains_secret) {
            let reason = "holds a secret, but build arguments end up in the image";
            failures.push(failure("args", reason));
        }
        if inputs.get("labels").is_some_and(Value::contains_secret) {
            failures.push(failure(
                "labels",
                "holds a secret, but labels end up in the image",
            ));
        }
        if inputs
            .get("dockerfileInline")
            .is_some_and(Value::contains_secret)
        {
            let reason = "holds a secret, but its text ends up in the image";
            failures.push(failure("dockerfileInline", reason));
        }
        failures
    }

    async fn diff(
        &self,
        ctx: &CallContext,
        req: &DiffRequest,
        mut found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        // An archive carries the hashes of its content, so equal inputs are an equal image. A
        // folder does not: its files are looked at.
        let folder = matches!(
            req.inputs.get("context").map(Value::unsecret),
            Some(Value::String(_))
        );
        let differs = found.changes == DiffChanges::Some;
        if !folder && !differs {
            return Ok(found);
        }
        let Some(image) = self.build(ctx, &req.inputs).await? else {
            return Ok(found);
        };
        let detailed = found.detailed.get_or_insert_default();
        if recorded_digest(&req.old_outputs) == Some(image.digest) {
            // Whatever differs, the image does not.
            detailed.clear();
        } else if detailed.is_empty() {
            let difference = PropertyDiff {
                kind: DiffKind::Update,
                input: true,
            };
            detailed.insert("context".into(), difference);
        }
        found.changes = if detailed.is_empty() {
            DiffChanges::None
        } else {
            DiffChanges::Some
        };
        Ok(found)
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let outputs = self.outputs(ctx, &req.inputs, req.inputs.clone()).await?;
        Ok(CreateResponse {
            id: repository(ctx.urn.name()),
            outputs,
        })
    }

    async fn foretell_create(
        &self,
        ctx: &CallContext,
        req: &CreateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &req.inputs, outputs).await
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &req.inputs, req.inputs.clone()).await
    }

    async fn foretell_update(
        &self,
        ctx: &CallContext,
        req: &UpdateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &req.inputs, outputs).await
    }

    async fn read(
        &self,
        _ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(digest) = recorded_digest(&req.outputs) else {
            return Err(ProviderError::Unsupported("import of a build".into()));
        };
        if !self.images.has(&digest).await.map_err(images_failed)? {
            return Ok(None);
        }
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(req.inputs),
            outputs: req.outputs,
        }))
    }
}
