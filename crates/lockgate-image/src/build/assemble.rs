//! Executes the steps of the stages and writes the image.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, Span};
use lockgate_model::Timestamp;

use super::archive;
use super::pack::{self, Content, Entry, Kind, PackError, Placed};
use super::prepare::{Picked, Prepared, select_copy, select_diagnostic};
use super::staged::{self, Spool, StagedError};
use super::{BuildError, Builder, ImageRecord, ProgressEvent, cache};
use crate::context::{self, EntryKind, FileRef, Item, ItemKind, Tree, show};
use crate::key::BuildKey;
use crate::layer::{Layer, open_layer};
use crate::oci::History;
use crate::recipe::{Action, Base, Copy, Origin, Source, Stage};
use crate::rootfs::{Node, NodeKind, Owner, Rootfs};
use crate::store::write_image;
use crate::tar::{Limits, TarError, TarReader};

type Report<'a> = dyn Fn(ProgressEvent) + 'a;

/// Layers and paths of a stage so far.
#[derive(Clone, Default)]
struct Built {
    layers: Vec<Layer>,
    history: Vec<History>,
    rootfs: Rootfs,
}

/// Builds the image of `prepared` and records it under `key`.
pub(super) fn assemble(
    builder: &Builder,
    prepared: &Prepared,
    key: BuildKey,
    report: &Report<'_>,
) -> Result<ImageRecord, BuildError> {
    let mut work = Assembly {
        builder,
        prepared,
        report,
        built: BTreeMap::new(),
        picked: prepared.picked.iter(),
        step: 0,
        total: prepared.stages.iter().map(|(_, s)| s.steps.len()).sum(),
    };
    let last = prepared.stages.last().map(|(index, _)| *index);
    for (index, stage) in &prepared.stages {
        let built = work.stage(stage, Some(*index) == last)?;
        work.built.insert(*index, built);
    }
    let last = prepared
        .stages
        .last()
        .and_then(|(index, _)| work.built.remove(index))
        .unwrap_or_default();
    let mut config = prepared.config.clone();
    config.rootfs.diff_ids = last.layers.iter().map(|l| l.diff_id).collect();
    config.history = last.history;
    let size_bytes = last.layers.iter().map(|l| l.descriptor.size).sum();
    let layers = last.layers.into_iter().map(|l| l.descriptor).collect();
    let image = write_image(builder.store(), &config, layers)?;
    let record = ImageRecord {
        key,
        digest: image.digest,
        config_digest: image.manifest.config.digest,
        diff_ids: image.config.rootfs.diff_ids,
        size_bytes,
        built_at: builder.inner.clock.now(),
    };
    cache::save_states(builder, prepared)
        .and_then(|()| cache::save_record(builder, &record))
        .map_err(BuildError::io("remember the build"))?;
    Ok(record)
}

struct Assembly<'a> {
    builder: &'a Builder,
    prepared: &'a Prepared,
    report: &'a Report<'a>,
    built: BTreeMap<usize, Built>,
    picked: std::slice::Iter<'a, Picked>,
    step: usize,
    total: usize,
}

impl Assembly<'_> {
    /// Paths after the last layer of the `last` stage are not indexed: nothing asks for them.
    fn stage(&mut self, stage: &Stage, last: bool) -> Result<Built, BuildError> {
        let mut built = match &stage.base {
            Base::Scratch => Built::default(),
            Base::Image(digest) => self.load_image(digest)?,
            Base::Stage(below) => self.built.get(below).cloned().unwrap_or_default(),
        };
        let layers_end = stage
            .steps
            .iter()
            .rposition(|s| !matches!(s.action, Action::Config));
        for (position, step) in stage.steps.iter().enumerate() {
            self.step += 1;
            (self.report)(ProgressEvent::Step {
                number: self.step,
                total: self.total,
                text: step.created_by.clone(),
            });
            let layer = match &step.action {
                Action::Config => None,
                Action::Workdir { path, user } => self.workdir(&built, path, user)?,
                Action::Copy(copy) => Some(self.copy(&built, copy)?),
            };
            built.history.push(History {
                created: Some(Timestamp::from_secs(self.prepared.epoch).to_string()),
                created_by: Some(step.created_by.clone()),
                empty_layer: layer.is_none(),
                ..History::default()
            });
            if let Some((layer, entries)) = layer {
                let number = u32::try_from(built.layers.len()).unwrap_or(u32::MAX);
                let asked = !last || Some(position) != layers_end;
                for entry in entries.into_iter().filter(|_| asked) {
                    built
                        .rootfs
                        .insert(entry.path.clone(), node_of(&entry, number));
                }
                built.layers.push(layer);
            }
        }
        Ok(built)
    }

    /// Layers, history and paths of an image in the store.
    fn load_image(&self, digest: &lockgate_model::Digest) -> Result<Built, BuildError> {
        let image = self.builder.store().image(digest)?;
        let mut built = Built {
            history: image.config.history.clone(),
            ..Built::default()
        };
        for (descriptor, diff_id) in image
            .manifest
            .layers
            .iter()
            .zip(&image.config.rootfs.diff_ids)
        {
            let number = u32::try_from(built.layers.len()).unwrap_or(u32::MAX);
            let failed = |e| staged_error(StagedError::Layer(descriptor.digest, e));
            let mut reader = TarReader::new(
                open_layer(self.builder.store(), descriptor)?,
                Limits::default(),
            );
            built.rootfs.apply(&mut reader, number).map_err(failed)?;
            reader.drain().map_err(failed)?;
            built.layers.push(Layer {
                descriptor: descriptor.clone(),
                diff_id: *diff_id,
            });
        }
        Ok(built)
    }

    fn workdir(
        &self,
        built: &Built,
        path: &str,
        user: &str,
    ) -> Result<Option<(Layer, Vec<Entry>)>, BuildError> {
        let path = built.rootfs.resolve(path.trim_matches('/').as_bytes());
        if built.rootfs.is_folder(&path) {
            return Ok(None);
        }
        let owner = if user.is_empty() {
            Owner::default()
        } else {
            self.owner(built, user, Span::default())?
        };
        let mut entries = Vec::new();
        for (at, _) in path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .chain([(path.len(), &b'/')])
        {
            let folder = &path[..at];
            match built.rootfs.find(folder).map(|n| &n.kind) {
                Some(NodeKind::Folder | NodeKind::Symlink(_)) => {}
                Some(_) => {
                    let message =
                        format!("`/{}` is a file of the image, not a folder", show(folder));
                    return Err(BuildError::invalid(Diagnostic::error(
                        codes::PATH_CONFLICT,
                        message,
                    )));
                }
                None => entries.push(Entry {
                    path: folder.to_vec(),
                    kind: Kind::Folder,
                    mode: 0o755,
                    owner,
                }),
            }
        }
        let layer = self.layer(&entries, &mut |_, _| {
            Err(std::io::Error::other("a folder has no content"))
        })?;
        Ok(Some((layer, entries)))
    }

    fn copy(&mut self, built: &Built, copy: &Copy) -> Result<(Layer, Vec<Entry>), BuildError> {
        let owner = match &copy.chown {
            Some(text) => Some(self.owner(built, text, copy.span)?),
            None => None,
        };
        let mut spool =
            Spool::new(self.builder.store()).map_err(BuildError::io("open a temporary file"))?;
        let tree = &self.prepared.tree;
        let (inline, inline_name) = inline_items(copy);
        let (mut placed, rename) = match &copy.origin {
            Origin::Context => {
                let picked = self.picked.next().ok_or(BuildError::Stopped)?;
                let place = |file: FileRef, at: usize| {
                    let hash = picked.hashes.get(at).copied().flatten()?;
                    Some((Content::Context(file), size_of(tree, file), hash))
                };
                (
                    place_items(&picked.selected.items, &place),
                    picked.selected.rename.clone(),
                )
            }
            Origin::Stage(stage) => {
                let source = self.built.get(stage).ok_or(BuildError::Stopped)?;
                self.items_from_layers(source, copy, &mut spool)?
            }
            Origin::Image(digest) => {
                self.items_from_layers(&self.load_image(digest)?, copy, &mut spool)?
            }
        };
        placed.extend(inline.into_iter().map(|(item, bytes)| Placed {
            item: Cow::Owned(item),
            content: Some((
                Content::Bytes(Arc::clone(&bytes)),
                bytes.len() as u64,
                *blake3::hash(&bytes).as_bytes(),
            )),
            unpacked: false,
        }));
        let mut rename = rename.or(inline_name);
        if copy.unpack {
            self.unpack_archives(copy, &mut placed, &mut rename, &mut spool)?;
        }
        let file = &self.prepared.file;
        let entries = pack::place(&built.rootfs, copy, &placed, rename.as_deref(), owner, file)
            .map_err(BuildError::invalid)?;
        drop(placed);
        let layer = self.layer(&entries, &mut |content, size| match content {
            Content::Context(file) => context::open_file(tree, *file),
            Content::Spool(start) => spool.open(*start, size),
            Content::Bytes(bytes) => Ok(Box::new(std::io::Cursor::new(Arc::clone(bytes)))),
        })?;
        Ok((layer, entries))
    }

    /// Items of an image or an earlier stage, their content in the spool.
    fn items_from_layers(
        &self,
        source: &Built,
        copy: &Copy,
        spool: &mut Spool,
    ) -> Result<(Vec<Placed<'static>>, Option<Vec<u8>>), BuildError> {
        let tree = staged::tree_of(&source.rootfs);
        let selected = select_copy(&tree, copy).map_err(|(error, span)| {
            BuildError::invalid(select_diagnostic(&error, &self.prepared.file, span))
        })?;
        let places = staged::spool_layers(
            self.builder.store(),
            &source.layers,
            &tree,
            &selected.items,
            spool,
        )
        .map_err(staged_error)?;
        let place = |file: FileRef, _: usize| {
            places
                .get(&file)
                .map(|(start, size, hash)| (Content::Spool(*start), *size, *hash))
        };
        let placed = place_items(&selected.items, &place)
            .into_iter()
            .map(|p| Placed {
                item: Cow::Owned(p.item.into_owned()),
                ..p
            })
            .collect();
        Ok((placed, selected.rename))
    }

    /// Replaces each direct source of an ADD that is an archive by what is in it.
    fn unpack_archives(
        &self,
        copy: &Copy,
        placed: &mut Vec<Placed<'_>>,
        rename: &mut Option<Vec<u8>>,
        spool: &mut Spool,
    ) -> Result<(), BuildError> {
        let tree = &self.prepared.tree;
        let direct: Vec<FileRef> = self.prepared.picked
            [..self.prepared.picked.len() - self.picked.len()]
            .last()
            .map(|p| p.selected.direct.clone())
            .unwrap_or_default();
        for file in direct {
            let (shown, size) = (show(&tree.path(file)), size_of(tree, file));
            let open = || {
                context::open_file(tree, file).map_err(BuildError::io(format!("read `{shown}`")))
            };
            let refused = |e: TarError| {
                BuildError::invalid(
                    Diagnostic::error(
                        codes::COPY_SOURCE,
                        format!("the archive `{shown}` cannot be unpacked"),
                    )
                    .at(&self.prepared.file, copy.span, "")
                    .caused_by(&e)
                    .hint("write `ADD --unpack=false` to copy it as it is"),
                )
            };
            if !archive::recognise(open()?, size).map_err(refused)? {
                continue;
            }
            let items = archive::expand(open()?, size, spool).map_err(refused)?;
            placed.retain(|p| {
                p.item.kind != ItemKind::File(file)
                    || !matches!(p.content, Some((Content::Context(_), ..)))
            });
            placed.extend(items);
            *rename = None;
        }
        Ok(())
    }

    /// The layer of these entries, from the cache or packed now.
    fn layer(&self, entries: &[Entry], open: &mut pack::Open<'_>) -> Result<Layer, BuildError> {
        let name = pack::layer_name(entries, self.prepared.epoch);
        let found = cache::find_layer(self.builder, &name);
        let cached = found.is_some();
        let layer = match found {
            Some(layer) => layer,
            None => {
                let layer = pack::pack(self.builder.store(), entries, self.prepared.epoch, open)
                    .map_err(|e| self.pack_error(e))?;
                cache::save_layer(self.builder, &name, &layer)
                    .map_err(BuildError::io("remember a layer"))?;
                layer
            }
        };
        (self.report)(ProgressEvent::Layer {
            digest: layer.descriptor.digest,
            size_bytes: layer.descriptor.size,
            cached,
        });
        Ok(layer)
    }

    fn pack_error(&self, error: PackError) -> BuildError {
        match error {
            PackError::Store(e) => e.into(),
            PackError::Read(path, source) => BuildError::Io {
                operation: format!("pack `{path}`"),
                source,
            },
            PackError::Changed(path) => BuildError::invalid(Diagnostic::error(
                codes::FILE_CHANGED,
                format!("`{path}` changed between hashing and packing"),
            )),
        }
    }

    /// `user[:group]`, numbers or names of the stage's own passwd and group.
    fn owner(&self, built: &Built, text: &str, span: Span) -> Result<Owner, BuildError> {
        let unknown = |what: &str, name: &str| {
            BuildError::invalid(
                Diagnostic::error(
                    codes::INSTRUCTION_ARGUMENTS,
                    format!("the image has no {what} `{name}`"),
                )
                .at(&self.prepared.file, span, "")
                .hint("use a number, for example `--chown=10001:10001`"),
            )
        };
        let accounts = |path: &[u8]| {
            staged::read_small(self.builder.store(), &built.layers, &built.rootfs, path)
                .map_err(staged_error)
        };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (uid, own_gid) = match user.parse::<u32>() {
            // A number alone is the group too.
            Ok(uid) => (uid, uid),
            Err(_) => accounts(b"etc/passwd")?
                .as_deref()
                .and_then(|text| account(text, user))
                .and_then(|fields| {
                    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
                })
                .ok_or_else(|| unknown("user", user))?,
        };
        let gid = match group.map(|g| (g, g.parse::<u32>())) {
            None => own_gid,
            Some((_, Ok(gid))) => gid,
            Some((name, Err(_))) => accounts(b"etc/group")?
                .as_deref()
                .and_then(|text| account(text, name))
                .and_then(|fields| fields.get(2)?.parse().ok())
                .ok_or_else(|| unknown("group", name))?,
        };
        Ok(Owner {
            uid: uid.into(),
            gid: gid.into(),
        })
    }
}

/// The fields of the line of `name` in a passwd or group file.
fn account(text: &str, name: &str) -> Option<Vec<String>> {
    text.lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|f| f == name))
}

type InlineItem = (Item, Arc<[u8]>);

/// Heredocs of a COPY as items; the name if the only source is one that may be renamed.
fn inline_items(copy: &Copy) -> (Vec<InlineItem>, Option<Vec<u8>>) {
    let only = copy.sources.len() == 1 && !copy.into;
    let mut items = Vec::new();
    let mut rename = None;
    for source in &copy.sources {
        let Source::Inline { name, body } = source else {
            continue;
        };
        let path = if only {
            Vec::new()
        } else {
            name.as_bytes().to_vec()
        };
        if only {
            rename = Some(name.as_bytes().to_vec());
        }
        let kind = ItemKind::File(FileRef {
            folder: 0,
            entry: 0,
        });
        items.push((
            Item {
                path,
                kind,
                mode: 0o644,
                owner: Owner::default(),
            },
            body.as_bytes().into(),
        ));
    }
    (items, rename)
}

/// Pairs items with their content, found by file and position.
fn place_items<'a>(
    items: &'a [Item],
    content: &dyn Fn(FileRef, usize) -> Option<(Content, u64, context::ContentHash)>,
) -> Vec<Placed<'a>> {
    items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            let content = match item.kind {
                ItemKind::File(file) => content(file, at),
                _ => None,
            };
            Placed {
                item: Cow::Borrowed(item),
                content,
                unpacked: false,
            }
        })
        .collect()
}

fn size_of(tree: &Tree, file: FileRef) -> u64 {
    match &tree.entry(file).kind {
        EntryKind::File(stat) => stat.size,
        EntryKind::Given { size, .. } | EntryKind::Layered { size, .. } => *size,
        EntryKind::Folder(_) | EntryKind::Symlink(_) | EntryKind::Special { .. } => 0,
    }
}

fn node_of(entry: &Entry, layer: u32) -> Node {
    let kind = match &entry.kind {
        Kind::Folder => NodeKind::Folder,
        Kind::Symlink(target) => NodeKind::Symlink(target.clone().into()),
        Kind::File { size, .. } => NodeKind::File {
            size: *size,
            layer,
            path: entry.path.clone().into(),
        },
    };
    Node {
        kind,
        mode: entry.mode,
        owner: entry.owner,
    }
}

fn staged_error(error: StagedError) -> BuildError {
    match error {
        StagedError::Store(e) => e.into(),
        StagedError::Io(source) => BuildError::Io {
            operation: "read layers".to_owned(),
            source,
        },
        StagedError::Layer(digest, source) => BuildError::Io {
            operation: format!("read layer {digest}"),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, source.to_string()),
        },
    }
}
