//! `lockgate:image:Build`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Severity;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DiffChanges, DiffKind, DiffRequest, DiffResponse, PropertyDiff,
    ProviderError, ReadRequest, ReadResponse,
};
use lockgate_image::{
    BuildRequest, Context, ContextFile, DockerfileSource, FileContent, ImageRecord, OsArch,
    Progress, ProgressEvent,
};
use lockgate_model::image::LOCAL_REGISTRY;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{Digest, ImageReference, PropertyMap, Urn, Value};

use super::gate::check_plain;
use super::push::{check_host, check_tags, push};
use super::{images_failed, notice, progress};
use crate::bag;
use crate::check::failure;
use crate::hash::hash_file;
use crate::images::Images;
use crate::package::Kind;

/// Files of a context given as an archive.
const FILES_MAX: usize = 10_000;
/// Archives inside archives.
const DEPTH_MAX: usize = 16;

/// The resource type.
pub(super) struct Build {
    pub(super) images: Arc<dyn Images>,
    pub(super) project_dir: PathBuf,
    /// What images are built for unless a program says otherwise.
    pub(super) os_arch: OsArch,
}

impl Build {
    /// What to build; `None` when an input is not known yet.
    async fn request(
        &self,
        urn: &Urn,
        inputs: &PropertyMap,
    ) -> Result<Option<BuildRequest>, ProviderError> {
        if inputs.values().any(Value::contains_unknown) {
            return Ok(None);
        }
        let context = inputs.get("context").map(Value::without_secrets);
        let project_dir = self.project_dir.clone();
        // Hashing the files of an archive takes as long as reading them.
        let context = tokio::task::spawn_blocking(move || match context {
            Some(Value::Archive(archive)) => read_archive(&project_dir, &archive),
            Some(Value::String(path)) => Ok(Context::Folder(project_dir.join(path))),
            _ => Err("`context` is missing".to_owned()),
        });
        let context = context
            .await
            .map_err(|error| ProviderError::failed(error.to_string()))?
            .map_err(ProviderError::failed)?;
        let os_arch = bag::text(inputs, "platform").map(OsArch::parse);
        let os_arch = os_arch.unwrap_or_else(|| Ok(self.os_arch.clone()));
        let os_arch = os_arch.map_err(|error| ProviderError::failed(error.to_string()))?;
        let mut request = BuildRequest::new(repository(urn, inputs), context, os_arch);
        if let Some(text) = bag::text(inputs, "dockerfileInline") {
            request.dockerfile = DockerfileSource::Inline {
                name: format!("{}.dockerfileInline", urn.name()),
                text: text.to_owned(),
            };
        } else if let Some(path) = self.dockerfile(inputs) {
            request.dockerfile = DockerfileSource::Path(path);
        }
        for (name, value) in bag::map(inputs, "args").into_iter().flatten() {
            let Some(text) = value.as_str().map(str::to_owned) else {
                continue;
            };
            match value {
                Value::Secret(_) => {
                    request.secret_args.insert(name.clone(), text.into());
                }
                _ => {
                    request.build_args.insert(name.clone(), text);
                }
            }
        }
        request.offline = bag::boolean(inputs, "offline").unwrap_or(false);
        request.target = bag::text(inputs, "target").map(str::to_owned);
        request.labels = bag::text_map(inputs, "labels");
        Ok(Some(request))
    }

    /// The Dockerfile that the program names, which need not lie in the context.
    fn dockerfile(&self, inputs: &PropertyMap) -> Option<PathBuf> {
        let path = bag::text(inputs, "dockerfile")?;
        Some(self.project_dir.join(path))
    }

    /// The image, from the store when its key is known there, else built.
    async fn build(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
    ) -> Result<Option<ImageRecord>, ProviderError> {
        let Some(request) = self.request(&ctx.urn, inputs).await? else {
            return Ok(None);
        };
        let lines = Lines(ctx);
        tokio::select! {
            built = self.images.build(&request, &lines) => built.map(Some).map_err(images_failed),
            () = ctx.cancel.cancelled() => Err(ProviderError::Cancelled),
        }
    }

    /// Outside previews the image is also pushed, if the program wants that: never unchecked, as
    /// no gate can stand in between (docs/adr/0005).
    async fn outputs(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if let Some(image) = self.build(ctx, inputs).await? {
            let home = home(&ctx.urn, inputs).map_err(ProviderError::failed)?;
            let reference = home.with_digest(image.digest).to_string();
            if pushes(inputs) {
                check_plain(self.images.as_ref(), &reference, &image.digest).await?;
            }
            if pushes(inputs) && !ctx.preview {
                push(ctx, self.images.as_ref(), &home, inputs, image.digest).await?;
            }
            outputs.insert("digest".into(), image.digest.to_string().into());
            outputs.insert("ref".into(), reference.into());
            outputs.insert("buildKey".into(), image.key.hex().into());
            outputs.insert("sizeBytes".into(), bag::number(image.size_bytes));
            if let Some(path) = self.dockerfile(inputs) {
                outputs.insert("dockerfileHash".into(), hash(&path)?.into());
            }
        }
        Ok(outputs)
    }
}

/// Progress of a build as lines of the deployment.
struct Lines<'a>(&'a CallContext);

impl Progress for Lines<'_> {
    fn report(&self, event: ProgressEvent) {
        let text = match event {
            ProgressEvent::Step {
                number,
                total,
                text,
            } => format!("step {number}/{total}: {text}"),
            ProgressEvent::Layer { digest, cached, .. } => {
                let how = if cached { "reused" } else { "packed" };
                format!("{how} layer {digest}")
            }
        };
        progress(self.0, text);
    }
}

/// The repository: the name given, or the logical name in lower case, all else a dash.
fn repository(urn: &Urn, inputs: &PropertyMap) -> String {
    if let Some(name) = bag::text(inputs, "name") {
        return name.to_owned();
    }
    let lower = urn.name().to_lowercase();
    let plain: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    match plain.trim_matches('-') {
        "" => "image".to_owned(),
        name => name.to_owned(),
    }
}

/// Inputs that decide where the image goes, not what it is.
const PLACE: [&str; 4] = ["name", "push", "registry", "tags"];

fn pushes(inputs: &PropertyMap) -> bool {
    bag::boolean(inputs, "push").unwrap_or(false)
}

/// Registry and repository of the image; an error is about `registry` or `name`.
fn home(urn: &Urn, inputs: &PropertyMap) -> Result<ImageReference, String> {
    let registry = match bag::text(inputs, "registry").filter(|_| pushes(inputs)) {
        Some(registry) => registry.trim_end_matches('/'),
        None => LOCAL_REGISTRY,
    };
    let text = format!("{registry}/{}", repository(urn, inputs));
    let parsed = ImageReference::parse(&text).map_err(|error| error.to_string())?;
    check_host(registry, &parsed)?;
    Ok(parsed)
}

/// What is wrong with the place the image is pushed to.
fn check_place(urn: &Urn, inputs: &PropertyMap) -> Vec<CheckFailure> {
    let known = |name: &str| inputs.get(name).is_some_and(|v| !v.contains_unknown());
    let mut failures = Vec::new();
    if pushes(inputs) {
        match inputs.contains_key("registry") {
            false => failures.push(failure("push", "needs a `registry` to push to")),
            true if known("registry") => {
                failures.extend(home(urn, inputs).err().map(|e| failure("registry", e)));
            }
            true => {}
        }
    }
    failures.extend(check_tags(inputs));
    failures
}

fn hash(path: &Path) -> Result<String, ProviderError> {
    hash_file(path).map_err(|error| ProviderError::failed(error.to_string()))
}

fn read_archive(project_dir: &Path, archive: &Archive) -> Result<Context, String> {
    match &archive.source {
        ArchiveSource::Path(path) => {
            let path = project_dir.join(path);
            if path.is_dir() {
                return Ok(Context::Folder(path));
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
            let mut files = Vec::new();
            read_entries(project_dir, "", entries, 0, &mut files)?;
            Ok(Context::Files(files))
        }
    }
}

fn read_entries(
    project_dir: &Path,
    prefix: &str,
    entries: &PropertyMap,
    depth: usize,
    files: &mut Vec<ContextFile>,
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
                files.push(read_asset(project_dir, path, asset)?);
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
fn read_asset(project_dir: &Path, name: String, asset: &Asset) -> Result<ContextFile, String> {
    let file = match &asset.source {
        AssetSource::Text(text) => {
            return Ok(ContextFile {
                path: name,
                content: FileContent::Bytes(text.as_bytes().into()),
                executable: false,
            });
        }
        AssetSource::Uri(uri) => {
            return Err(format!(
                "`context` takes `{name}` from `{uri}`, expected a file"
            ));
        }
        AssetSource::Path(path) => project_dir.join(path),
    };
    if let Some(expected) = &asset.hash {
        let found = hash_file(&file).map_err(|error| error.to_string())?;
        if found != *expected {
            return Err(format!(
                "`{}` changed after it was handed over as `{name}`",
                file.display()
            ));
        }
    }
    let metadata = fs_err::metadata(&file).map_err(|error| error.to_string())?;
    Ok(ContextFile {
        path: name,
        executable: metadata.permissions().mode() & 0o100 != 0,
        content: FileContent::Path(file),
    })
}

fn is_repository(name: &str) -> bool {
    let parsed = ImageReference::parse(&format!("{LOCAL_REGISTRY}/{name}"));
    parsed.is_ok_and(|image| image.repository == name)
}

fn recorded_digest(outputs: &PropertyMap) -> Option<Digest> {
    Digest::parse(bag::text(outputs, "digest")?).ok()
}

#[async_trait]
impl Kind for Build {
    fn check(&self, ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if inputs.contains_key("dockerfile") && inputs.contains_key("dockerfileInline") {
            let reason = "expected one of `dockerfile` and `dockerfileInline`, found both";
            failures.push(failure("dockerfileInline", reason));
        }
        let name = bag::text(inputs, "name");
        if let Some(name) = name.filter(|n| !is_repository(n)) {
            let reason = format!("`{name}` is no repository name, expected for example `shop/web`");
            failures.push(failure("name", reason));
        }
        if let Some(Err(error)) = bag::text(inputs, "platform").map(OsArch::parse) {
            failures.push(failure("platform", error.to_string()));
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
        if failures.is_empty() {
            failures = check_place(&ctx.urn, inputs);
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
        // folder and a Dockerfile do not: they are looked at.
        let context = req.inputs.get("context").map(Value::unsecret);
        let folder = matches!(context, Some(Value::String(_)));
        let dockerfile = match self.dockerfile(&req.inputs) {
            Some(path) => bag::text(&req.old_outputs, "dockerfileHash") != Some(&hash(&path)?),
            None => false,
        };
        if !folder && !dockerfile && found.changes != DiffChanges::Some {
            return Ok(found);
        }
        let Some(image) = self.build(ctx, &req.inputs).await? else {
            return Ok(found);
        };
        let detailed = found.detailed.get_or_insert_default();
        if recorded_digest(&req.old_outputs) == Some(image.digest) {
            // Whatever else differs, the image does not; where it goes may.
            detailed.retain(|path, _| {
                let name = path.split(['.', '[']).next().unwrap_or_default();
                PLACE.contains(&name)
            });
        } else if detailed.is_empty() {
            let difference = PropertyDiff {
                kind: DiffKind::Update,
                input: true,
            };
            let path = if dockerfile { "dockerfile" } else { "context" };
            detailed.insert(path.into(), difference);
        }
        found.changes = if detailed.is_empty() {
            DiffChanges::None
        } else {
            DiffChanges::Some
        };
        Ok(found)
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &inputs, inputs.clone()).await
    }

    fn id(&self, ctx: &CallContext, outputs: &PropertyMap) -> String {
        repository(&ctx.urn, outputs)
    }

    async fn foretell(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if pushes(inputs) {
            let text = "`push` waits for no gate but for the checks that no image should fail; rules of your own go into a `lockgate:image:Gate` with a `lockgate:image:Push` behind it";
            notice(ctx, Severity::Info, text.to_owned());
        }
        self.outputs(ctx, inputs, outputs).await
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
