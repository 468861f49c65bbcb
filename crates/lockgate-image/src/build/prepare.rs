//! Everything before the first byte is packed: front end, context, key.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_model::{Digest, Timestamp};

use super::{
    BuildError, BuildPlan, BuildRequest, Builder, Changes, DEFAULT_EPOCH, DockerfileSource, cache,
    engine,
};
use crate::base::BaseSource;
use crate::context::{
    self, ContentHash, Context, FileContent, HashError, Item, ItemKind, Request, ScanError, Scope,
    SelectError, Selected, Tree,
};
use crate::dockerfile::{self, Dockerfile};
use crate::ignore::Ignore;
use crate::key::{self, ContextKey};
use crate::oci::{DEFAULT_PATH, ImageConfig, RootFs, RuntimeConfig};
use crate::recipe::{
    self, Action, Base, BaseRef, Copy, Origin, Outline, Source, Stage, StageInput,
};

/// Largest ignore file that is read.
const IGNORE_BYTES_MAX: u64 = 1024 * 1024;

/// Images named by the Dockerfile: text, where it comes from, manifest digest.
pub(super) type Images = Vec<(String, BaseSource, Digest)>;

/// Stages with their place in the file.
pub(super) type Stages = Vec<(usize, Stage)>;

/// Paths of the context that COPY names; `None` when links led beyond them.
pub(super) type Copied = Option<Vec<Vec<u8>>>;

/// The parsed front end, before base images are known.
pub(super) struct Front {
    pub(super) dockerfile: Dockerfile,
    ignore: Ignore,
    pub(super) outline: Outline,
    passed: recipe::PassedArgs,
    /// Everything found so far, errors included.
    diagnostics: Vec<Diagnostic>,
}

/// A selection of one COPY of the context, with its hashes.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) selected: Selected,
    pub(super) hashes: Vec<Option<ContentHash>>,
}

/// All a build needs.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file: Arc<SourceFile>,
    pub(super) stages: Stages,
    pub(super) config: ImageConfig,
    pub(super) epoch: i64,
    pub(super) tree: Tree,
    /// One per COPY of the context, in order of stages and steps.
    pub(super) picked: Vec<Picked>,
    pub(super) images: Images,
    /// Where the list of copied paths is remembered.
    pub(super) tree_id: String,
    pub(super) copied: Copied,
    /// What a build engine does in place of the assembler.
    pub(super) order: Option<engine::Order>,
}

impl Front {
    /// Images that reachable stages start from or copy from, with the place.
    pub(super) fn image_texts(&self) -> Vec<(String, Span)> {
        let mut texts = Vec::new();
        for index in &self.outline.reachable {
            let head = &self.outline.stages[*index];
            if let BaseRef::Image(text) = &head.base {
                texts.push((text.clone(), head.base_span));
            }
            texts.extend(head.from_images.iter().cloned());
        }
        texts
    }
}

/// Reads and parses Dockerfile and ignore file.
pub(super) fn read_front(request: &BuildRequest) -> Result<Front, BuildError> {
    let file = read_dockerfile(request)?;
    let (dockerfile, mut diagnostics) = dockerfile::parse(Arc::clone(&file));
    let passed = recipe::PassedArgs {
        plain: request.build_args.clone(),
        secret: request.secret_args.clone(),
    };
    let (outline, more) = recipe::outline(
        &dockerfile,
        &passed,
        request.target.as_deref(),
        &request.platform,
    );
    diagnostics.extend(more);
    let ignore = match read_ignore(request)? {
        Some(file) => {
            let (ignore, more) = Ignore::parse(&file);
            diagnostics.extend(more);
            ignore
        }
        None => Ignore::default(),
    };
    let Some(outline) = outline else {
        return Err(BuildError::Invalid { diagnostics });
    };
    let front = Front {
        dockerfile,
        ignore,
        outline,
        passed,
        diagnostics,
    };
    if !front.diagnostics.iter().any(Diagnostic::is_error) {
        return Ok(front);
    }
    // The rest of the file is checked too, as if bases were empty, so that one run reports all.
    let mut diagnostics = front.diagnostics.clone();
    let unknown = |_: &str| Ok((Base::Scratch, RuntimeConfig::default()));
    let evaluated = evaluate_stages(&front, &BTreeMap::new(), &unknown, &mut Vec::new());
    if let Err(BuildError::Invalid { diagnostics: more }) = evaluated {
        diagnostics.extend(more);
    }
    Err(BuildError::Invalid { diagnostics })
}

fn read_dockerfile(request: &BuildRequest) -> Result<Arc<SourceFile>, BuildError> {
    let path = match &request.dockerfile {
        DockerfileSource::Inline { name, text } => return Ok(SourceFile::new(name, text.as_str())),
        DockerfileSource::Path(path) => path,
    };
    let shown = path.display().to_string();
    match read_from(&request.context, path, dockerfile::DOCKERFILE_BYTES_MAX) {
        Ok(Some(text)) => Ok(SourceFile::new(shown, text)),
        Ok(None) => Err(BuildError::invalid(
            Diagnostic::error(
                codes::CONTEXT_UNREADABLE,
                format!("the Dockerfile `{shown}` does not exist"),
            )
            .hint("set `dockerfile` to its path, relative to the context"),
        )),
        Err(e) => Err(BuildError::invalid(
            Diagnostic::error(
                codes::CONTEXT_UNREADABLE,
                format!("the Dockerfile `{shown}` cannot be read"),
            )
            .caused_by(&e),
        )),
    }
}

/// `<Dockerfile>.dockerignore` replaces `.dockerignore` of the root.
fn read_ignore(request: &BuildRequest) -> Result<Option<Arc<SourceFile>>, BuildError> {
    let own = match &request.dockerfile {
        DockerfileSource::Path(path) => {
            let mut name = path.clone().into_os_string();
            name.push(".dockerignore");
            Some(PathBuf::from(name))
        }
        DockerfileSource::Inline { .. } => None,
    };
    for path in own.into_iter().chain([PathBuf::from(".dockerignore")]) {
        match read_from(&request.context, &path, IGNORE_BYTES_MAX) {
            Ok(Some(text)) => return Ok(Some(SourceFile::new(path.display().to_string(), text))),
            Ok(None) => {}
            Err(e) => {
                return Err(BuildError::invalid(
                    Diagnostic::error(
                        codes::CONTEXT_UNREADABLE,
                        format!("the ignore file `{}` cannot be read", path.display()),
                    )
                    .caused_by(&e),
                ));
            }
        }
    }
    Ok(None)
}

/// A text file of the context (or anywhere, if absolute); `None` if there is none.
fn read_from(context: &Context, path: &Path, max: u64) -> std::io::Result<Option<String>> {
    let full = match context {
        Context::Folder(root) => root.join(path),
        Context::Files(_) if path.is_absolute() => path.to_owned(),
        Context::Files(files) => {
            let clean = |text: &str| crate::tar::clean_path(text.as_bytes());
            let wanted = path.to_str().and_then(clean);
            match files
                .iter()
                .find(|f| clean(&f.path) == wanted)
                .map(|f| &f.content)
            {
                None => return Ok(None),
                Some(FileContent::Path(path)) => path.clone(),
                Some(FileContent::Bytes(bytes)) => return into_text(bytes.to_vec()).map(Some),
            }
        }
    };
    let file = match fs::File::open(&full) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(std::io::Error::other(format!(
            "{} has more than {max} bytes",
            full.display()
        )));
    }
    into_text(bytes).map(Some)
}

fn into_text(bytes: Vec<u8>) -> std::io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Evaluates, scans, hashes and names the build.
pub(super) fn prepare(
    builder: &Builder,
    request: &BuildRequest,
    front: Front,
    images: Images,
) -> Result<BuildPlan, BuildError> {
    // Before the first stat, see stat_cache.
    let stamp = context::coarse_now();
    let mut warnings = front.diagnostics.clone();
    let digests: BTreeMap<String, Digest> = images
        .iter()
        .map(|(text, _, digest)| (text.clone(), *digest))
        .collect();
    let base_of = |text: &str| {
        let digest = digests.get(text).copied().ok_or(BuildError::Stopped)?;
        Ok((
            Base::Image(digest),
            builder.store().image(&digest)?.config.config,
        ))
    };
    let (stages, engine_only) = evaluate_stages(&front, &digests, &base_of, &mut warnings)?;
    let order = engine::order(builder, &front, request, &images, &engine_only)?;
    let file = Arc::clone(&front.dockerfile.file);
    let (tree, selections, copied) = scan_and_select(request, &front, &stages, &mut warnings)?;
    let hashes = hash_selections(builder, request, &tree, &selections, stamp)?;
    let epoch = request.epoch.unwrap_or(DEFAULT_EPOCH);
    let config = final_config(request, &stages, epoch);
    let mut picked = Vec::new();
    let mut keys: Vec<ContextKey> = Vec::new();
    for selected in selections {
        let of = |item: &Item| match &item.kind {
            ItemKind::File(file) => hashes.get(file).copied(),
            _ => None,
        };
        keys.push(key::context_key(&selected, &of));
        let hashes = selected.items.iter().map(of).collect();
        picked.push(Picked { selected, hashes });
    }
    let numbered: Vec<(usize, &Stage)> = stages.iter().map(|(i, s)| (*i, s)).collect();
    let key = key::build_key(&config, epoch, &numbered, &keys);
    let key = order.as_ref().map_or(key, |o| o.key(key, &images));
    let known = cache::find_record(builder, key);
    // What an engine built before is good without it.
    if let (Some(order), None, None) = (&order, &known, builder.engine()) {
        return Err(order.needs_engine());
    }
    let tree_id = cache::tree_id(request);
    let prepared = Prepared {
        file,
        stages,
        config,
        epoch,
        tree,
        picked,
        images,
        tree_id,
        copied,
        order,
    };
    let changes = if known.is_some() {
        Changes::default()
    } else {
        cache::changes(builder, &prepared)
    };
    Ok(BuildPlan {
        key,
        known,
        changes,
        warnings,
        prepared: Arc::new(prepared),
    })
}

/// Base and configuration of an image, by its text in the Dockerfile.
type BaseOf<'a> = dyn Fn(&str) -> Result<(Base, RuntimeConfig), BuildError> + 'a;

fn evaluate_stages(
    front: &Front,
    digests: &BTreeMap<String, Digest>,
    base_of: &BaseOf<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Stages, Vec<Diagnostic>), BuildError> {
    let (mut diagnostics, mut engine_only) = (Vec::new(), Vec::new());
    let mut done: BTreeMap<usize, (Stage, _)> = BTreeMap::new();
    for index in &front.outline.reachable {
        let head = &front.outline.stages[*index];
        let (base, base_config, inherited) = match &head.base {
            BaseRef::Scratch => {
                let config = RuntimeConfig {
                    env: vec![format!("PATH={DEFAULT_PATH}")],
                    working_dir: "/".to_owned(),
                    ..RuntimeConfig::default()
                };
                (Base::Scratch, config, None)
            }
            BaseRef::Image(text) => {
                let (base, mut config) = base_of(text)?;
                if config.working_dir.is_empty() {
                    config.working_dir = "/".to_owned();
                }
                (base, config, None)
            }
            BaseRef::Stage(stage) => {
                let (below, scope): &(Stage, recipe::ScopeOfStage) =
                    done.get(stage).ok_or(BuildError::Stopped)?;
                (
                    Base::Stage(*stage),
                    below.config.clone(),
                    Some(scope.clone()),
                )
            }
        };
        let name = match &head.base {
            BaseRef::Image(text) => text.as_str(),
            _ => "the stage below",
        };
        let mut triggers = Vec::new();
        for text in &base_config.on_build {
            let (trigger, more) = dockerfile::parse_trigger(text, name);
            diagnostics.extend(more);
            triggers.push(trigger);
        }
        let input = StageInput {
            outline: &front.outline,
            stage: *index,
            base,
            base_config,
            triggers,
            inherited,
            passed: &front.passed,
            images: digests,
        };
        let evaluated = recipe::evaluate(&front.dockerfile, input, &mut diagnostics);
        engine_only.extend(evaluated.engine_only);
        done.insert(*index, (evaluated.stage, evaluated.scope));
    }
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(BuildError::Invalid { diagnostics });
    }
    warnings.extend(diagnostics);
    let stages = done.into_iter();
    let stages = stages.map(|(index, (stage, _))| (index, stage)).collect();
    Ok((stages, engine_only))
}

fn context_copies(stages: &[(usize, Stage)]) -> impl Iterator<Item = &Copy> {
    stages
        .iter()
        .flat_map(|(_, stage)| &stage.steps)
        .filter_map(|step| match &step.action {
            Action::Copy(copy) if copy.origin == Origin::Context => Some(copy),
            _ => None,
        })
}

/// The path sources of a COPY.
pub(super) fn patterns(copy: &Copy) -> Vec<&str> {
    copy.sources
        .iter()
        .filter_map(|source| match source {
            Source::Path { pattern, .. } => Some(pattern.as_str()),
            Source::Inline { .. } => None,
        })
        .collect()
}

fn scan_and_select(
    request: &BuildRequest,
    front: &Front,
    stages: &[(usize, Stage)],
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Tree, Vec<Selected>, Copied), BuildError> {
    let prefixes: Vec<Vec<u8>> = context_copies(stages)
        .flat_map(|copy| patterns(copy).into_iter().map(context::static_prefix))
        .collect();
    if prefixes.is_empty() {
        let selections = context_copies(stages)
            .map(|_| Selected::default())
            .collect();
        return Ok((Tree::default(), selections, None));
    }
    let file = &front.dockerfile.file;
    let mut scope = Scope::Paths(prefixes);
    loop {
        let tree =
            context::scan(&request.context, &front.ignore, &scope).map_err(unreadable_context)?;
        let (mut selections, mut diagnostics, mut widen) = (Vec::new(), Vec::new(), false);
        for copy in context_copies(stages) {
            match select_copy(&tree, copy) {
                Ok(selected) => selections.push(selected),
                Err((SelectError::Skipped { .. }, _)) => widen = true,
                Err((error, span)) => diagnostics.push(select_diagnostic(&error, file, span)),
            }
        }
        if widen && matches!(scope, Scope::Paths(_)) {
            // A link led out of the part that was listed.
            scope = Scope::Everything;
            continue;
        }
        if !diagnostics.is_empty() {
            return Err(BuildError::Invalid { diagnostics });
        }
        for (selected, copy) in selections.iter().zip(context_copies(stages)) {
            warn_selected(selected, copy, file, warnings);
        }
        let copied = match scope {
            Scope::Everything => None,
            Scope::Paths(paths) => Some(paths),
        };
        return Ok((tree, selections, copied));
    }
}

fn warn_selected(
    selected: &Selected,
    copy: &Copy,
    file: &Arc<SourceFile>,
    warnings: &mut Vec<Diagnostic>,
) {
    for path in &selected.skipped {
        warnings.push(
            Diagnostic::warning(
                codes::COPY_SOURCE,
                format!("`{path}` is a socket or a pipe and is left out"),
            )
            .at(file, copy.span, ""),
        );
    }
    if selected.items.iter().any(|item| item.path == b".git") {
        warnings.push(
            Diagnostic::warning(
                codes::GIT_IN_CONTEXT,
                "`.git` is copied, so every commit changes the image",
            )
            .at(file, copy.span, "")
            .hint("add `.git` to `.dockerignore`"),
        );
    }
}

/// Selects for one COPY; an error comes with the span of its source.
pub(super) fn select_copy(tree: &Tree, copy: &Copy) -> Result<Selected, (SelectError, Span)> {
    let exclude = Ignore::from_patterns(&copy.exclude)
        .map_err(|reason| (SelectError::BadPattern { path: reason }, copy.span))?;
    let all = patterns(copy);
    // One by one first, so that the diagnostic points at the source it is about.
    if all.len() > 1 {
        for source in &copy.sources {
            if let Source::Path { pattern, span } = source {
                let request = Request {
                    patterns: &[pattern],
                    into: copy.into,
                    exclude: &exclude,
                    parents: copy.parents,
                };
                context::select(tree, request).map_err(|e| (e, *span))?;
            }
        }
    }
    let span = copy.sources.iter().find_map(|s| match s {
        Source::Path { span, .. } => Some(*span),
        Source::Inline { .. } => None,
    });
    let request = Request {
        patterns: &all,
        into: copy.into,
        exclude: &exclude,
        parents: copy.parents,
    };
    context::select(tree, request).map_err(|e| (e, span.unwrap_or(copy.span)))
}

pub(super) fn select_diagnostic(
    error: &SelectError,
    file: &Arc<SourceFile>,
    span: Span,
) -> Diagnostic {
    let code = match error {
        SelectError::Unreadable { .. } => codes::CONTEXT_UNREADABLE,
        SelectError::Conflict { .. } => codes::PATH_CONFLICT,
        _ => codes::COPY_SOURCE,
    };
    let mut diagnostic = Diagnostic::error(code, error.to_string()).at(file, span, "");
    if let Some(source) = std::error::Error::source(error) {
        diagnostic = diagnostic.cause(source.to_string());
    }
    diagnostic
}

fn unreadable_context(error: ScanError) -> BuildError {
    BuildError::invalid(
        Diagnostic::error(
            codes::CONTEXT_UNREADABLE,
            "the build context cannot be scanned",
        )
        .caused_by(&error),
    )
}

fn hash_selections(
    builder: &Builder,
    request: &BuildRequest,
    tree: &Tree,
    selections: &[Selected],
    stamp: i64,
) -> Result<std::collections::HashMap<context::FileRef, ContentHash>, BuildError> {
    let mut files: Vec<context::FileRef> = selections
        .iter()
        .flat_map(|s| &s.items)
        .filter_map(|item| match item.kind {
            ItemKind::File(file) => Some(file),
            _ => None,
        })
        .collect();
    files.sort_unstable();
    files.dedup();
    let folder = builder.cache_dir().join("stat");
    let hashes =
        context::hash_files(tree, &files, &folder, stamp, request.verify).map_err(|error| {
            let code = match error {
                HashError::Unreadable { .. } => codes::CONTEXT_UNREADABLE,
                HashError::Changing { .. } => codes::FILE_CHANGED,
            };
            BuildError::invalid(
                Diagnostic::error(code, "a file of the build context cannot be read")
                    .caused_by(&error),
            )
        })?;
    Ok(files.into_iter().zip(hashes).collect())
}

/// The configuration without layers and history; both follow from the steps.
fn final_config(request: &BuildRequest, stages: &[(usize, Stage)], epoch: i64) -> ImageConfig {
    let mut config = stages
        .last()
        .map(|(_, s)| s.config.clone())
        .unwrap_or_default();
    config.labels.extend(request.labels.clone());
    ImageConfig {
        created: Some(Timestamp::from_secs(epoch).to_string()),
        author: stages.last().and_then(|(_, s)| s.author.clone()),
        os_arch: request.platform.clone(),
        config,
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        },
        history: Vec::new(),
    }
}
