//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

mod layers;
mod reference;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use lockgate_diag::{Diagnostic, Renderer, SourceFile, Span};
use lockgate_model::image::ImageReference;

use crate::dockerfile::{self, Dockerfile, Keyword};
use crate::ignore::{Ignore, Matched};
use crate::oci::{ImageConfig, Index, Manifest};
use crate::os_arch::OsArch;
use crate::recipe::{Base, BaseRef, PassedArgs, StageInput, evaluate, outline};
use crate::tar::{
    Header, HeaderKind, Limits, Member, MemberKind, TarReader, TarWriter, clean_path,
};
use crate::{pattern, registry};

pub use layers::layers;

/// Most bytes and members of an archive here; what is larger must be refused, not read.
const LIMITS: Limits = Limits {
    members: 64,
    bytes: 256 * 1024,
};

/// An archive: the same members however its bytes arrive, clean paths, sizes that are kept, and
/// what our writer can say of them reads back.
pub fn tar(bytes: &[u8]) {
    let whole = members(bytes);
    assert_eq!(members(Single(bytes)), whole, "byte by byte");
    let Some(all) = whole else {
        return;
    };
    let mut writer = TarWriter::new(Vec::new());
    let mut expected = Vec::new();
    for (member, content) in all {
        assert_eq!(clean_path(&member.path).as_ref(), Some(&member.path));
        assert_eq!(member.size, content.len() as u64);
        let kind = match member.kind {
            MemberKind::File => HeaderKind::File(member.size),
            MemberKind::Folder => HeaderKind::Folder,
            MemberKind::Symlink => HeaderKind::Symlink(&member.link),
            MemberKind::HardLink | MemberKind::Special => continue,
        };
        // Before the epoch and at the root there is nothing of ours.
        if member.path.is_empty() || member.mtime < 0 {
            continue;
        }
        let header = Header {
            path: &member.path,
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
        };
        writer
            .append(&header, &mut &*content)
            .expect("written to memory");
        expected.push((member.clone(), content));
    }
    let written = writer.finish().expect("written to memory");
    assert_eq!(members(&*written), Some(expected));
}

/// All members with their content; `None` when the archive is refused.
fn members(input: impl Read) -> Option<Vec<(Member, Vec<u8>)>> {
    let mut reader = TarReader::new(input, LIMITS);
    let mut all = Vec::new();
    while let Some(member) = reader.next_member().ok()? {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).ok()?;
        all.push((member, content));
    }
    reader.drain().ok()?;
    Some(all)
}

/// Gives one byte at a time.
struct Single<'b>(&'b [u8]);

impl Read for Single<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(1);
        self.0.read(&mut buffer[..n])
    }
}

/// A Dockerfile: every place lies in the file, an instruction's summary reads as the instruction,
/// and stages that need no image are evaluated.
pub fn dockerfile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let file = SourceFile::new("Dockerfile", text);
    let (parsed, found) = dockerfile::parse(Arc::clone(&file));
    assert_places(&found, text);
    for instruction in &parsed.instructions {
        assert_place(instruction.span, text);
        for word in &instruction.words {
            assert_place(word.span, text);
            assert!(word.span.start >= instruction.span.start, "{word:?}");
        }
        for flag in &instruction.flags {
            assert_place(flag.span, text);
        }
        let rest = &instruction.rest.text;
        let alone = instruction.heredocs.is_empty()
            && !rest.contains("<<")
            && !rest.ends_with(parsed.escape)
            && !rest.starts_with("--")
            && !rest.is_empty();
        if alone && found.is_empty() && parsed.escape == '\\' {
            let summary = SourceFile::new("Dockerfile", instruction.summary());
            let (again, _) = dockerfile::parse(summary);
            let [again] = again.instructions.as_slice() else {
                panic!("{}", instruction.summary());
            };
            assert_eq!(again.keyword, instruction.keyword);
            assert_eq!(again.rest.text, *rest);
            assert_eq!(again.flags.len(), instruction.flags.len());
        }
    }
    plan(&parsed);
}

/// Plans the whole file for one platform.
fn plan(parsed: &Dockerfile) {
    let passed = PassedArgs::default();
    let (outlined, found) = outline(parsed, &passed, None, &OsArch::linux("amd64"));
    let text = &parsed.file.text;
    assert_places(&found, text);
    let Some(outlined) = outlined else {
        assert!(
            !found.is_empty()
                || parsed
                    .instructions
                    .iter()
                    .all(|i| i.keyword != Keyword::From)
        );
        return;
    };
    let images = BTreeMap::new();
    let mut scopes = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for stage in &outlined.reachable {
        let (base, inherited) = match &outlined.stages[*stage].base {
            BaseRef::Scratch => (Base::Scratch, None),
            BaseRef::Stage(earlier) => {
                assert!(earlier < stage, "a stage begins with an earlier one");
                (Base::Stage(*earlier), scopes.get(earlier).cloned())
            }
            // What an image sets is not known here.
            BaseRef::Image(_) => (Base::Scratch, None),
        };
        let input = StageInput {
            outline: &outlined,
            stage: *stage,
            base,
            base_config: Default::default(),
            triggers: Vec::new(),
            inherited,
            passed: &passed,
            images: &images,
        };
        let evaluated = evaluate(parsed, input, &mut diagnostics);
        assert_places(&evaluated.engine_only, text);
        scopes.insert(*stage, evaluated.scope);
    }
    assert_places(&diagnostics, text);
}

/// An ignore file and a path, with a NUL between them: the verdict is that of a slow reader, and
/// no folder is left out that holds what is wanted again.
pub fn ignore(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some((text, path)) = text.split_once('\0') else {
        return;
    };
    let file = SourceFile::new(".dockerignore", text);
    let (ignore, found) = Ignore::parse(&file);
    assert_places(&found, text);
    let path = clean_path(path.as_bytes()).filter(|p| !p.is_empty());
    let Some(path) = path.filter(|p| p.len() <= 64 && text.len() <= 256) else {
        return;
    };
    let excluded = ignore.excludes_deep(&path);
    assert_eq!(ignore.excludes_deep(&path), excluded);
    let mut parent = Matched::default();
    for end in path
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(at, _)| at)
    {
        let folder = &path[..end];
        let (out, matched) = ignore.matches(folder, &parent);
        assert_eq!(out, ignore.excludes(folder, &parent), "leaf or folder");
        assert!(
            !out || excluded || ignore.may_include_below(folder),
            "{:?} would be left out",
            String::from_utf8_lossy(&path)
        );
        parent = matched;
    }
    assert_eq!(
        ignore.excludes(&path, &parent),
        excluded,
        "on the way or at once"
    );
    if found.is_empty() {
        let text = text.trim_start_matches('\u{feff}');
        let expected = reference::excludes(text, std::str::from_utf8(&path).expect("UTF-8"));
        assert_eq!(excluded, expected, "{:?}", String::from_utf8_lossy(&path));
    }
}

/// A pattern of one path component and a name, with a NUL between them.
pub fn component(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some((pattern, name)) = text.split_once('\0') else {
        return;
    };
    if pattern.len() > 64 || name.len() > 64 {
        return;
    }
    let verdict = pattern::matches(pattern.as_bytes(), name.as_bytes());
    if let Ok(matched) = verdict {
        assert_eq!(
            matched,
            reference::component(pattern, name),
            "{pattern} {name}"
        );
        let plain = !pattern::has_meta(pattern.as_bytes());
        assert!(!plain || matched == (pattern == name));
    }
}

/// An image reference prints as a text that reads the same.
pub fn image_reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(reference) = ImageReference::parse(text) else {
        return;
    };
    let printed = reference.to_string();
    assert_eq!(
        ImageReference::parse(&printed).as_ref(),
        Ok(&reference),
        "{printed}"
    );
    let mut parts = reference.repository.split('/');
    assert!(
        parts.all(|part| part != ".." && part != "."),
        "{printed} climbs"
    );
    let host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    assert!(reference.registry.bytes().all(host), "{printed} is no host");
}

/// What a registry answers: documents that read are written so that they read the same, and any
/// challenge is understood or not.
pub fn registry(bytes: &[u8]) {
    same::<Manifest>(bytes);
    same::<Index>(bytes);
    same::<ImageConfig>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        registry::fuzz_challenge(text);
    }
}

fn same<T>(bytes: &[u8])
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    if let Ok(document) = serde_json::from_slice::<T>(bytes) {
        let again = serde_json::to_vec(&document).expect("a document can be written");
        assert_eq!(serde_json::from_slice::<T>(&again).ok(), Some(document));
    }
}

fn assert_places(found: &[Diagnostic], text: &str) {
    for label in found.iter().flat_map(|d| &d.labels) {
        assert_place(label.span, text);
    }
    Renderer::default().render_all(found);
}

fn assert_place(span: Span, text: &str) {
    let range = span.start as usize..span.end as usize;
    assert!(text.get(range).is_some(), "{span:?} of {}", text.len());
}

#[cfg(test)]
mod tests;
