//! Files that a script left behind: glob patterns to assets with their hashes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{PropertyMap, Value};
use sha2::{Digest as _, Sha256};

use crate::hash::hash_file;

/// Files of one list of patterns. More is a pattern that caught a cache folder by mistake.
const FILES_MAX: usize = 10_000;
/// Folders deeper than this are a loop or a mistake.
const DEPTH_MAX: usize = 64;

/// Why the files could not be returned.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error("read the files that a script left behind")]
    Io(#[from] std::io::Error),
    #[error("pattern `{0}` must be relative to `dir` and stay inside it")]
    Outside(String),
    #[error("the patterns match more than {FILES_MAX} files")]
    TooMany,
    #[error("file name `{0}` is not UTF-8")]
    Name(String),
}

/// Where to look, and how the paths are written down.
pub(super) struct Folder {
    /// The folder itself.
    pub(super) dir: PathBuf,
    /// The same as the state keeps it: relative to the project folder where it can be.
    pub(super) shown: PathBuf,
}

/// The matching files as assets, by path relative to the folder.
pub(super) fn find_assets(folder: &Folder, patterns: &[String]) -> Result<PropertyMap, FilesError> {
    let mut found = BTreeSet::new();
    for pattern in patterns.iter().filter(|p| !p.starts_with('!')) {
        let segments = segments(pattern)?;
        walk(&folder.dir, String::new(), &segments, 0, &mut found)?;
    }
    for pattern in patterns.iter().filter_map(|p| p.strip_prefix('!')) {
        let segments = segments(pattern)?;
        found.retain(|path| !path_matches(&segments, &path.split('/').collect::<Vec<_>>()));
    }
    found
        .into_iter()
        .map(|path| {
            let hash = hash_file(&folder.dir.join(&path))?;
            let shown = folder.shown.join(&path);
            let shown = shown
                .to_str()
                .ok_or_else(|| FilesError::Name(path.clone()))?;
            let asset = Asset {
                hash: Some(hash),
                source: AssetSource::Path(shown.to_owned()),
            };
            Ok((path, Value::Asset(asset)))
        })
        .collect()
}

/// The matching files as one archive, whose hash covers every path and content.
pub(super) fn find_archive(folder: &Folder, patterns: &[String]) -> Result<Archive, FilesError> {
    let assets = find_assets(folder, patterns)?;
    let mut hasher = Sha256::new();
    for (path, value) in &assets {
        if let Value::Asset(Asset {
            hash: Some(hash), ..
        }) = value
        {
            hasher.update((path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update(hash.as_bytes());
        }
    }
    Ok(Archive {
        hash: Some(hex::encode(hasher.finalize())),
        source: ArchiveSource::Assets(assets),
    })
}

fn segments(pattern: &str) -> Result<Vec<&str>, FilesError> {
    let trimmed = pattern.trim_start_matches("./");
    let segments: Vec<&str> = trimmed.split('/').filter(|s| !s.is_empty()).collect();
    if trimmed.starts_with('/') || segments.is_empty() || segments.contains(&"..") {
        return Err(FilesError::Outside(pattern.to_owned()));
    }
    Ok(segments)
}

/// Collects the files below `dir` that match. Literal segments are joined without reading their
/// folder, so a pattern costs only what it may match. Links to folders are not followed by `**`.
fn walk(
    dir: &Path,
    prefix: String,
    segments: &[&str],
    depth: usize,
    found: &mut BTreeSet<String>,
) -> Result<(), FilesError> {
    let Some((segment, rest)) = segments.split_first() else {
        return Ok(());
    };
    if depth > DEPTH_MAX {
        return Ok(());
    }
    if !segment.contains(['*', '?', '[']) {
        return visit(dir, &prefix, segment, rest, depth, found);
    }
    if *segment == "**" && !rest.is_empty() {
        walk(dir, prefix.clone(), rest, depth, found)?;
    }
    for entry in entries(dir)? {
        let (name, is_dir) = entry?;
        if *segment == "**" {
            if is_dir {
                let below = format!("{prefix}{name}/");
                walk(&dir.join(&name), below, segments, depth + 1, found)?;
            } else if rest.is_empty() {
                visit(dir, &prefix, &name, rest, depth, found)?;
            }
        } else if name_matches(segment, &name) {
            visit(dir, &prefix, &name, rest, depth, found)?;
        }
    }
    Ok(())
}

fn visit(
    dir: &Path,
    prefix: &str,
    name: &str,
    rest: &[&str],
    depth: usize,
    found: &mut BTreeSet<String>,
) -> Result<(), FilesError> {
    let path = dir.join(name);
    let relative = format!("{prefix}{name}");
    if rest.is_empty() {
        if path.is_file() && found.insert(relative) && found.len() > FILES_MAX {
            return Err(FilesError::TooMany);
        }
        return Ok(());
    }
    if path.is_dir() {
        walk(&path, format!("{relative}/"), rest, depth + 1, found)?;
    }
    Ok(())
}

type Entry = Result<(String, bool), FilesError>;

fn entries(dir: &Path) -> Result<impl Iterator<Item = Entry>, FilesError> {
    let entries = fs_err::read_dir(dir)?;
    Ok(entries.map(|entry| {
        let entry = entry?;
        let name = entry.file_name();
        let shown = name.to_string_lossy().into_owned();
        let name = name.into_string().map_err(|_| FilesError::Name(shown))?;
        Ok((name, entry.file_type()?.is_dir()))
    }))
}

/// Whether a whole relative path matches the segments of a pattern.
fn path_matches(segments: &[&str], path: &[&str]) -> bool {
    match (segments.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), Some((_, below))) => {
            rest.is_empty() || path_matches(rest, path) || path_matches(segments, below)
        }
        (Some((segment, rest)), Some((name, below))) => {
            name_matches(segment, name) && path_matches(rest, below)
        }
        _ => false,
    }
}

/// Whether a name matches `*`, `?` and `[…]`. The last star is the only one ever taken back, so
/// the time is bounded by the product of both lengths.
fn name_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = one_matches(&pattern, p, name[n]) {
            p = next;
            n += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The place after the pattern item at `p`, if that item takes `c`.
fn one_matches(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let length = pattern[p + 1..].iter().position(|c| *c == ']')?;
            let set = &pattern[p + 1..p + 1 + length];
            let (negated, set) = match set.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, set),
            };
            let mut inside = false;
            let mut at = 0;
            while at < set.len() {
                if let (Some('-'), Some(high)) = (set.get(at + 1), set.get(at + 2)) {
                    inside |= (set[at]..=*high).contains(&c);
                    at += 3;
                } else {
                    inside |= set[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(p + length + 2)
        }
        literal => (*literal == c).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_like_a_shell() {
        for (pattern, name, expected) in [
            ("*.rs", "main.rs", true),
            ("*.rs", "main.rc", false),
            ("a*b*c", "aXbYbZc", true),
            ("?ain.rs", "main.rs", true),
            ("[a-m]ain", "main", true),
            ("[!a-m]ain", "main", false),
            ("*", "", true),
            ("[ab", "[ab", false),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
