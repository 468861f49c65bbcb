//! Builds with RUN: what a Docker Engine is asked for, and its answer as a record.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_model::Digest;

use super::prepare::{Copied, Front, Images, Prepared};
use super::{BuildError, BuildRequest, Builder, ImageRecord, ProgressEvent, cache};
use crate::base::BaseSource;
use crate::context::{self, EntryKind, FileRef, Tree, show};
use crate::dockerfile::{Instruction, Keyword};
use crate::engine::{Engine, EngineBuild};
use crate::key::{BuildKey, Record};
use crate::recipe::BaseRef;
use crate::tar::{Header, HeaderKind, TarWriter};

/// The engine's driver takes the context from memory.
const CONTEXT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What an engine is to build, instead of the assembler.
#[derive(Clone, Debug)]
pub(super) struct Order {
    build: EngineBuild,
    /// Every instruction of the stages it needs, for the key and for progress.
    instructions: Vec<String>,
    /// Why the assembler does not do it.
    reasons: Vec<Diagnostic>,
}

/// The order for an engine, if any instruction is only for one: those are the `reasons`. An error
/// says why an engine must not get it, or that there is none.
pub(super) fn order(
    builder: &Builder,
    front: &Front,
    request: &BuildRequest,
    images: &Images,
    reasons: &[Diagnostic],
) -> Result<Option<Order>, BuildError> {
    if reasons.is_empty() {
        return Ok(None);
    }
    match make_order(front, request, images, reasons) {
        // Without an engine, that is what there is to say.
        Err(_) if builder.engine().is_none() => Err(BuildError::NeedsEngine {
            diagnostics: reasons.to_vec(),
        }),
        order => order.map(Some),
    }
}

fn make_order(
    front: &Front,
    request: &BuildRequest,
    images: &Images,
    reasons: &[Diagnostic],
) -> Result<Order, BuildError> {
    let file = &front.dockerfile.file;
    let mut diagnostics = Vec::new();
    let mut instructions = Vec::new();
    for index in &front.outline.reachable {
        let stage = &front.outline.stages[*index];
        instructions.push(format!("stage {index}"));
        for instruction in &front.dockerfile.instructions[stage.body.clone()] {
            diagnostics.extend(refusal(instruction, request, file));
            let mut text = instruction.summary();
            for heredoc in &instruction.heredocs {
                text.push_str(&format!("\n<<{}\n{}", heredoc.name, heredoc.body));
            }
            instructions.push(text);
        }
    }
    if !diagnostics.is_empty() {
        return Err(BuildError::Invalid { diagnostics });
    }
    let build = EngineBuild {
        name: String::new(),
        dockerfile: pinned_text(front, file, images)?,
        target: request.target.clone(),
        args: request.build_args.clone().into_iter().collect(),
        secrets: request.secret_args.clone().into_iter().collect(),
        labels: request.labels.clone().into_iter().collect(),
        os_arch: request.platform.clone(),
        offline: request.offline,
    };
    Ok(Order {
        build,
        instructions,
        reasons: reasons.to_vec(),
    })
}

/// What an engine must not be asked for.
fn refusal(
    instruction: &Instruction,
    request: &BuildRequest,
    file: &Arc<SourceFile>,
) -> Option<Diagnostic> {
    if instruction.keyword == Keyword::Arg {
        // In a step an argument is part of the command, and so of the history.
        let name = instruction.words.iter().find_map(|word| {
            let name = word.text.split('=').next().unwrap_or_default();
            request.secret_args.contains_key(name).then_some(name)
        })?;
        let message = format!("the secret argument `{name}` would stay in the image's history");
        return Some(
            Diagnostic::error(codes::SECRET_IN_IMAGE, message)
                .at(file, instruction.span, "")
                .hint(format!(
                    "leave this `ARG` out and read /run/secrets/{name} in `RUN --mount=type=secret,id={name}`"
                )),
        );
    }
    let mounts = instruction.flags.iter().filter(|f| f.name == "mount");
    let of_context = mounts.filter_map(|flag| Some((flag, flag.value.as_deref()?)));
    let (flag, _) = of_context.into_iter().find(|(_, value)| {
        let has = |name: &str| value.split(',').any(|part| part.starts_with(name));
        (has("type=bind") || !has("type=")) && !has("from=")
    })?;
    Some(
        Diagnostic::error(
            codes::INSTRUCTION_ARGUMENTS,
            "a bind mount of the build context is not supported",
        )
        .at(file, flag.span, "")
        .hint("`COPY` the files, or bind them from a stage with `from=`"),
    )
}

/// The Dockerfile with every image it uses replaced by what it was resolved to: the engine must
/// not resolve a tag again.
fn pinned_text(
    front: &Front,
    file: &Arc<SourceFile>,
    images: &Images,
) -> Result<String, BuildError> {
    let mut changes: Vec<(Span, String)> = Vec::new();
    for index in &front.outline.reachable {
        let stage = &front.outline.stages[*index];
        if let BaseRef::Image(text) = &stage.base {
            changes.push((
                stage.base_span,
                pinned(text, stage.base_span, file, images)?,
            ));
        }
        for (text, span) in &stage.from_images {
            let flag = &file.text[range(*span)];
            let from = pinned(text, *span, file, images)?;
            let flag = flag.replacen(&format!("from={text}"), &format!("from={from}"), 1);
            changes.push((*span, flag));
        }
    }
    changes.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = file.text.to_string();
    for (span, change) in changes {
        text.replace_range(range(span), &change);
    }
    Ok(text)
}

fn range(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}

fn pinned(
    text: &str,
    span: Span,
    file: &Arc<SourceFile>,
    images: &Images,
) -> Result<String, BuildError> {
    let found = images.iter().find(|(known, _, _)| known == text);
    match found {
        Some((_, BaseSource::Reference(image), digest)) if !image.is_local() => {
            Ok(image.with_digest(*digest).to_string())
        }
        _ => Err(BuildError::invalid(
            Diagnostic::error(
                codes::BASE_IMAGE,
                format!("`{text}` is in no registry, where a Docker Engine could take it from"),
            )
            .at(file, span, "")
            .hint("push it to a registry and name it there"),
        )),
    }
}

impl Order {
    /// The error where there is no engine.
    pub(super) fn needs_engine(&self) -> BuildError {
        BuildError::NeedsEngine {
            diagnostics: self.reasons.clone(),
        }
    }

    /// The key: what the assembler's would be, and all that only an engine looks at.
    pub(super) fn key(&self, rest: BuildKey, images: &Images) -> BuildKey {
        let mut record = Record::new("lockgate-engine-build");
        record.number(1).text(&rest.hex());
        record.number(u64::from(self.build.offline));
        record.number(self.instructions.len() as u64);
        for instruction in &self.instructions {
            record.text(instruction);
        }
        record.number(self.build.args.len() as u64);
        for (name, value) in &self.build.args {
            record.text(name).text(value);
        }
        for (id, _) in &self.build.secrets {
            record.text(id);
        }
        for (_, _, digest) in images {
            record.bytes(digest.as_bytes());
        }
        BuildKey::of(record.finish())
    }
}

/// Has the engine build it and records the result.
pub(super) async fn run(
    builder: &Builder,
    engine: &Engine,
    order: &Order,
    prepared: &Arc<Prepared>,
    key: BuildKey,
    report: &dyn super::Progress,
) -> Result<ImageRecord, BuildError> {
    let total = order.instructions.len();
    for (i, text) in order.instructions.iter().enumerate() {
        let line = text.lines().next().unwrap_or_default();
        // What goes to the engine; it does not say when each step is done.
        report.report(ProgressEvent::Step {
            number: i + 1,
            total,
            text: format!("engine: {line}"),
        });
    }
    let mut build = order.build.clone();
    build.name = format!("lockgate-build:{}", key.hex());
    let (given, text) = (Arc::clone(prepared), build.dockerfile.clone());
    let context = super::blocking(move || archive(&given, &text)).await??;
    let store = builder.store();
    let mut bases = Vec::new();
    for (_, _, digest) in &prepared.images {
        bases.push(store.image(digest)?);
    }
    let built = engine.build(build, context, bases, store).await;
    let image = built.map_err(BuildError::Engine)?;
    let layers: BTreeSet<(Digest, u64)> = image
        .manifest
        .layers
        .iter()
        .map(|layer| (layer.digest, layer.size))
        .collect();
    for (digest, size_bytes) in layers {
        report.report(ProgressEvent::Layer {
            digest,
            size_bytes,
            cached: false,
        });
    }
    let record = ImageRecord {
        key,
        digest: image.digest,
        config_digest: image.manifest.config.digest,
        size_bytes: image.manifest.layers.iter().map(|l| l.size).sum(),
        diff_ids: image.config.rootfs.diff_ids,
        built_at: builder.inner.clock.now(),
    };
    cache::save_states(builder, prepared)
        .and_then(|()| cache::save_record(builder, &record))
        .map_err(BuildError::io("remember the build"))?;
    Ok(record)
}

/// The context as a tar archive: what the Dockerfile copies, with normalised metadata, so that
/// the engine's cache keys stay the same; and the Dockerfile.
fn archive(prepared: &Prepared, dockerfile: &str) -> Result<Bytes, BuildError> {
    let mut tar = TarWriter::new(Vec::new());
    let mut size = 0;
    let mut append = |header: &Header<'_>, content: &mut dyn std::io::Read| {
        if let HeaderKind::File(bytes) = header.kind {
            size += bytes;
        }
        if size > CONTEXT_BYTES_MAX {
            return Err(std::io::Error::other("it has more than 512 MiB"));
        }
        tar.append(header, content)
    };
    let mut write = |path: &[u8], kind: HeaderKind<'_>, mode, content: &mut dyn std::io::Read| {
        let header = Header {
            path,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: prepared.epoch,
        };
        append(&header, content).map_err(BuildError::io(format!(
            "send `{}` to the Docker Engine",
            show(path)
        )))
    };
    let name = Engine::dockerfile_name().as_bytes();
    let text = dockerfile.as_bytes();
    write(
        name,
        HeaderKind::File(text.len() as u64),
        0o644,
        &mut &*text,
    )?;
    for (path, entry) in entries(&prepared.tree, &prepared.copied) {
        match entry {
            Sent::Folder(mode) => write(&path, HeaderKind::Folder, mode, &mut std::io::empty())?,
            Sent::Symlink(target) => {
                write(
                    &path,
                    HeaderKind::Symlink(target),
                    0o777,
                    &mut std::io::empty(),
                )?;
            }
            Sent::File(file, size, mode) => {
                let content = context::open_file(&prepared.tree, file);
                let mut content =
                    content.map_err(BuildError::io(format!("open `{}`", show(&path))))?;
                write(&path, HeaderKind::File(size), mode, &mut content)?;
            }
        }
    }
    let bytes = tar.finish().map_err(BuildError::io("pack the context"))?;
    Ok(bytes.into())
}

enum Sent<'a> {
    Folder(u32),
    Symlink(&'a [u8]),
    File(FileRef, u64, u32),
}

/// Entries of the tree that a COPY may touch, parents before children. Without a list of paths,
/// links led anywhere, and everything that is not excluded is sent.
fn entries<'a>(tree: &'a Tree, copied: &Copied) -> Vec<(Vec<u8>, Sent<'a>)> {
    let below = |path: &[u8], folder: &[u8]| {
        folder.is_empty()
            || path == folder
            || (path.starts_with(folder) && path.get(folder.len()) == Some(&b'/'))
    };
    let wanted = |path: &[u8]| {
        let touched = |prefix: &Vec<u8>| below(path, prefix) || below(prefix, path);
        copied.as_ref().is_none_or(|all| all.iter().any(touched))
    };
    let mut found = Vec::new();
    for (folder_index, folder) in tree.folders.iter().enumerate() {
        for (entry_index, entry) in folder.entries.iter().enumerate() {
            let path = context::join(&folder.path, &entry.name);
            if entry.excluded || !wanted(&path) {
                continue;
            }
            let file = FileRef {
                folder: u32::try_from(folder_index).unwrap_or(u32::MAX),
                entry: u32::try_from(entry_index).unwrap_or(u32::MAX),
            };
            let mode = entry.kind.image_mode();
            let sent = match &entry.kind {
                EntryKind::Folder(index) => Sent::Folder(tree.folder(*index).mode),
                EntryKind::Symlink(target) => Sent::Symlink(target),
                EntryKind::File(stat) => Sent::File(file, stat.size, mode),
                EntryKind::Given { size, .. } => Sent::File(file, *size, mode),
                EntryKind::Layered { .. } | EntryKind::Special { .. } => continue,
            };
            found.push((path, sent));
        }
    }
    // A prefix sorts before what it is a prefix of, so folders come before their content.
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}
