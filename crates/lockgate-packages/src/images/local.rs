//! The image side of one machine: the assembler, the local store, and a resolver for what comes
//! from elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Diagnostic;
use lockgate_diag::codes::image as codes;
use lockgate_image::gate::{GatePolicy, GateReport, Ignore, evaluate};
use lockgate_image::{
    BaseResolver as _, BuildError, BuildRequest, Builder, Image, ImageRecord, OsArch, Progress,
    RegistryResolver,
};
use lockgate_model::{Clock, Digest, ImageReference, Timestamp};

use super::{Images, ImagesError, Resolved, parse_time};

/// Builds with the assembler; resolves, fetches and pushes through registries.
pub struct LocalImages {
    builder: Builder,
    resolver: Arc<RegistryResolver>,
    clock: Arc<dyn Clock>,
}

impl LocalImages {
    /// Over a builder, whose store is used for everything else too. The clock tells which ignores
    /// of a gate have expired.
    pub fn new(builder: Builder, resolver: Arc<RegistryResolver>, clock: Arc<dyn Clock>) -> Self {
        Self {
            builder,
            resolver,
            clock,
        }
    }
}

/// Every mistake with its place, then what led to it.
fn describe(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.labels.first().map(|label| {
        let (line, column) = label.file.line_column(label.span.start);
        format!("{}:{line}:{column}: ", label.file.path)
    });
    let mut text = format!("{}{}", place.unwrap_or_default(), diagnostic.message);
    // What a step printed stays in lines.
    let joint = if diagnostic.code == codes::ENGINE_BUILD {
        "\n"
    } else {
        ": "
    };
    for cause in &diagnostic.causes {
        text.push_str(joint);
        text.push_str(cause);
    }
    text
}

fn build_failed(error: &BuildError) -> ImagesError {
    let diagnostics = error.diagnostics();
    let errors = diagnostics.iter().filter(|d| d.is_error());
    ImagesError {
        message: errors.map(describe).collect::<Vec<_>>().join("\n"),
        hints: diagnostics.into_iter().flat_map(|d| d.hints).collect(),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ImagesError {
    ImagesError {
        message: crate::chain(error),
        hints: Vec::new(),
    }
}

/// Annotation of the time of creation (OCI image-spec annotations.md).
const CREATED: &str = "org.opencontainers.image.created";

/// When an image was created, by its manifest and its configuration: the later counts, for one of
/// them may be a constant.
fn created(image: &Image) -> Option<Timestamp> {
    let texts = [
        image.manifest.annotations.get(CREATED),
        image.config.created.as_ref(),
    ];
    let times = texts.into_iter().flatten();
    times.filter_map(|text| parse_time(text)).max()
}

#[async_trait]
impl Images for LocalImages {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<ImageRecord, ImagesError> {
        let plan = self.builder.plan(request).await;
        let plan = plan.map_err(|error| build_failed(&error))?;
        let built = self.builder.build(&plan, progress).await;
        built.map_err(|error| build_failed(&error))
    }

    async fn has(&self, digest: &Digest) -> Result<bool, ImagesError> {
        Ok(self.builder.store().has(digest))
    }

    async fn check_gate(
        &self,
        digest: &Digest,
        policy: &GatePolicy,
        ignores: &[Ignore],
    ) -> Result<GateReport, ImagesError> {
        let (store, now) = (self.builder.store().clone(), self.clock.now());
        let (digest, policy, ignores) = (*digest, policy.clone(), ignores.to_vec());
        // The scan reads and inflates every layer.
        let report =
            tokio::task::spawn_blocking(move || evaluate(&store, &digest, &policy, &ignores, now));
        report.await.map_err(|error| failed(&error))
    }

    async fn resolve(
        &self,
        image: &ImageReference,
        os_arch: &OsArch,
    ) -> Result<Resolved, ImagesError> {
        let store = self.builder.store();
        let manifest = self.resolver.resolve(image, os_arch, store).await;
        let manifest = manifest.map_err(|error| failed(&error))?;
        let index = match image.digest {
            Some(digest) => digest,
            None if image.is_local() => manifest,
            None => {
                let top = self.resolver.top_digest(image).await;
                top.map_err(|error| failed(&error))?
            }
        };
        let image = store.image(&manifest).map_err(|error| failed(&error))?;
        Ok(Resolved {
            index,
            manifest,
            created: created(&image),
        })
    }

    async fn tags(&self, image: &ImageReference) -> Result<Vec<String>, ImagesError> {
        let tags = self.resolver.registries().tags(image).await;
        tags.map_err(|error| failed(&error))
    }

    async fn fetch(&self, image: &ImageReference, os_arch: &OsArch) -> Result<Digest, ImagesError> {
        let store = self.builder.store();
        let manifest = self.resolver.resolve(image, os_arch, store).await;
        let manifest = manifest.map_err(|error| failed(&error))?;
        let fetched = self.resolver.fetch_layers(image, &manifest, store).await;
        fetched.map_err(|error| failed(&error))?;
        Ok(manifest)
    }

    async fn push(&self, digest: &Digest, target: &ImageReference) -> Result<(), ImagesError> {
        let store = self.builder.store();
        let pushed = self.resolver.registries().push(store, digest, target).await;
        pushed.map_err(|error| failed(&error))
    }
}
