//! The stat cache tells the truth, whatever happens to the files in between.

use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::ignore::Ignore;

/// Content hashes of all files below `root`, in scan order.
fn hashes(root: &Path, cache: &Path, verify: bool) -> Vec<(Vec<u8>, ContentHash)> {
    let stamp = coarse_now();
    let tree = scan(
        &Context::Folder(root.to_owned()),
        &Ignore::default(),
        &Scope::Everything,
    )
    .unwrap();
    let request = Request {
        patterns: &["."],
        into: true,
        exclude: &Ignore::default(),
        parents: false,
    };
    let files: Vec<FileRef> = select(&tree, request)
        .unwrap()
        .items
        .iter()
        .filter_map(|i| match i.kind {
            ItemKind::File(file) => Some(file),
            _ => None,
        })
        .collect();
    let hashes = hash_files(&tree, &files, cache, stamp, verify).unwrap();
    files.iter().map(|f| tree.path(*f)).zip(hashes).collect()
}

/// One change of a context.
#[derive(Clone, Debug)]
enum Edit {
    Write(u8, u8),
    WriteKeepingTime(u8, u8),
    Touch(u8),
    Mode(u8),
    RenameOver(u8, u8),
    HardLink(u8, u8),
    Remove(u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = 0..4_u8;
    prop_oneof![
        4 => (name.clone(), any::<u8>()).prop_map(|(f, b)| Edit::Write(f, b)),
        4 => (name.clone(), any::<u8>()).prop_map(|(f, b)| Edit::WriteKeepingTime(f, b)),
        1 => name.clone().prop_map(Edit::Touch),
        1 => name.clone().prop_map(Edit::Mode),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Edit::RenameOver(a, b)),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| Edit::HardLink(a, b)),
        1 => name.prop_map(Edit::Remove),
    ]
}

/// Applies an edit; one that does not fit the state (no such file) changes nothing.
fn apply(root: &Path, edit: &Edit) {
    let path = |file: u8| root.join(format!("f{file}"));
    // Always the same size, so that only times and inode can tell.
    let write = |file: u8, byte: u8| fs_err::write(path(file), [byte; 64]).unwrap();
    match edit {
        Edit::Write(file, byte) => write(*file, *byte),
        Edit::WriteKeepingTime(file, byte) => {
            let before = fs_err::metadata(path(*file))
                .and_then(|m| m.modified())
                .ok();
            write(*file, *byte);
            if let Some(time) = before {
                File::options()
                    .write(true)
                    .open(path(*file))
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            }
        }
        Edit::Touch(file) => {
            if let Ok(open) = File::options().write(true).open(path(*file)) {
                let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                open.set_times(FileTimes::new().set_modified(old)).unwrap();
            }
        }
        Edit::Mode(file) => {
            use std::os::unix::fs::PermissionsExt as _;
            let _ = fs_err::set_permissions(path(*file), std::fs::Permissions::from_mode(0o755));
        }
        Edit::RenameOver(from, to) => {
            let _ = fs_err::rename(path(*from), path(*to));
        }
        Edit::HardLink(from, to) => {
            let _ = fs_err::remove_file(path(*to));
            let _ = fs_err::hard_link(path(*from), path(*to));
        }
        Edit::Remove(file) => {
            let _ = fs_err::remove_file(path(*file));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cached_hashes_equal_full_hashes_after_any_edits(rounds in prop::collection::vec(prop::collection::vec(edit(), 0..4), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let (root, cache, fresh) = (folder.path().join("root"), folder.path().join("cache"), folder.path().join("fresh"));
        fs_err::create_dir_all(&root).unwrap();
        for edits in rounds {
            for edit in &edits {
                apply(&root, edit);
            }
            // Twice: the second run reads what the first one recorded.
            let first = hashes(&root, &cache, false);
            let second = hashes(&root, &cache, false);
            let full = hashes(&root, &fresh, true);
            prop_assert_eq!(&first, &full);
            prop_assert_eq!(&second, &full);
        }
    }
}

#[test]
fn an_old_file_is_not_read_again_and_a_racy_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let (root, cache) = (folder.path().join("root"), folder.path().join("cache"));
    fs_err::create_dir_all(&root).unwrap();
    fs_err::write(root.join("a"), "text").unwrap();
    let tree = scan(
        &Context::Folder(root.clone()),
        &Ignore::default(),
        &Scope::Everything,
    )
    .unwrap();
    let file = FileRef {
        folder: 0,
        entry: 0,
    };
    let EntryKind::File(stat) = tree.entry(file).kind else {
        panic!("not a file")
    };
    let changed = stat.mtime_ns.max(stat.ctime_ns);
    let key = stat_cache::path_hash(b"a");
    for (stamp, trusted) in [(changed, false), (changed + 1, true)] {
        let empty = stat_cache::StatCache::open(&cache, &tree, stamp);
        let learned = stat_cache::Learned {
            path_hash: key,
            stat,
            hash: [7; 32],
        };
        empty.save(&[learned], stamp).unwrap();
        let read = stat_cache::StatCache::open(&cache, &tree, stamp + 1);
        assert_eq!(
            read.find(key, &stat),
            trusted.then_some([7; 32]),
            "stamp {stamp}, changed {changed}"
        );
        // A clock that went back to before the stamp: nothing is trusted.
        let earlier = stat_cache::StatCache::open(&cache, &tree, stamp - 1);
        assert_eq!(earlier.find(key, &stat), None);
    }
}

#[test]
fn a_damaged_cache_counts_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (root, cache) = (folder.path().join("root"), folder.path().join("cache"));
    fs_err::create_dir_all(&root).unwrap();
    fs_err::write(root.join("a"), "text").unwrap();
    let full = hashes(&root, &cache, false);
    let file = fs_err::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs_err::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&file, &bytes).unwrap();
    assert_eq!(hashes(&root, &cache, false), full);
}

#[test]
fn given_files_with_bad_paths_are_refused() {
    let given = |path: &str| ContextFile {
        path: path.to_owned(),
        content: FileContent::Bytes(Arc::from(&b"x"[..])),
        executable: false,
    };
    for paths in [
        &["../x"][..],
        &["/x"],
        &["a", "a"],
        &["a", "a/b"],
        &["a/b", "a"],
        &[""],
        &["a/../b"],
    ] {
        let context = Context::Files(paths.iter().map(|p| given(p)).collect());
        assert!(
            matches!(
                scan(&context, &Ignore::default(), &Scope::Everything),
                Err(ScanError::BadPath(_))
            ),
            "{paths:?}"
        );
    }
}
