//! Power loss: what was not fsynced may be gone, torn or zeroed; what was acknowledged stays.
//!
//! A fault hook takes an image of the folder at every effect of a run. Each image is then brought
//! into the states a power loss could leave: the journal cut or zeroed anywhere after its last
//! fsync. A rename whose folder was not fsynced may be undone, which is the image before it; the
//! order of effects that this relies on is asserted too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_engine::{Durability, Journal};
use parking_lot::Mutex;

use crate::support::{World, added, block_on, thing};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The folder of the stack at one moment.
struct Image {
    point: &'static str,
    files: Files,
    /// Bytes of the journal that were fsynced.
    durable: usize,
    /// Resources whose entries were acknowledged.
    acknowledged: usize,
}

#[derive(Default)]
struct Recorder {
    images: Vec<Image>,
    durable: usize,
    acknowledged: usize,
}

fn read_files(folder: &Path) -> Files {
    let entries = fs_err::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs_err::read(path).unwrap()))
        .collect()
}

fn journal_of(files: &Files) -> Option<&PathBuf> {
    files
        .keys()
        .find(|path| path.to_string_lossy().contains("/journal-"))
}

fn record(world: &World) -> Vec<Image> {
    let recorder = Arc::new(Mutex::new(Recorder::default()));
    let (hooked, folder) = (Arc::clone(&recorder), world.path(""));
    let backend = world.reopen().with_fault_hook(Some(Arc::new(move |point| {
        let mut recorder = hooked.lock();
        let files = read_files(&folder);
        if point == "journal.fsync.after" {
            recorder.durable = journal_of(&files).map_or(0, |path| files[path].len());
        }
        let (durable, acknowledged) = (recorder.durable, recorder.acknowledged);
        recorder.images.push(Image {
            point,
            files,
            durable,
            acknowledged,
        });
    })));
    let lease = backend.acquire(&world.stack, "up").unwrap();
    let (_, journal) = backend.start_run(&lease).unwrap();
    for id in 0..4 {
        let queued = vec![added(2 * id, thing(&format!("q{id}"), "s"))];
        block_on(journal.append(queued, Durability::Queued)).unwrap();
        let durable = vec![added(2 * id + 1, thing(&format!("d{id}"), "s"))];
        block_on(journal.append(durable, Durability::Durable)).unwrap();
        recorder.lock().acknowledged += 2;
    }
    block_on(journal.commit()).unwrap();
    lease.release().unwrap();
    drop(journal);
    let mut recorder = recorder.lock();
    std::mem::take(&mut recorder.images)
}

fn put_back(world: &World, files: &Files) {
    for path in read_files(&world.path("")).keys() {
        fs_err::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs_err::write(path, bytes).unwrap();
    }
}

fn assert_kept(world: &World, image: &Image, what: &str) {
    let loaded = world.reopen().load(&world.stack);
    let loaded = loaded.unwrap_or_else(|error| panic!("{} {what}: {error}", image.point));
    let count = loaded.snapshot.resources.len();
    assert!(
        count >= image.acknowledged,
        "{} {what}: {count}",
        image.point
    );
    // Entries come back in order, without holes.
    for (index, state) in loaded.snapshot.resources.iter().enumerate() {
        let kind = ["q", "d"][index % 2];
        let name = format!("{kind}{}", index / 2);
        assert_eq!(state.urn.as_ref().unwrap().name(), name);
    }
}

#[test]
fn a_power_loss_at_any_effect_keeps_what_was_acknowledged() {
    let world = World::new();
    let images = record(&world);
    assert!(images.len() > 60);
    let mut tries = 0;
    for image in &images {
        put_back(&world, &image.files);
        assert_kept(&world, image, "as written");
        let Some(path) = journal_of(&image.files) else {
            continue;
        };
        let whole = &image.files[path];
        for length in (image.durable.min(whole.len())..whole.len()).step_by(7) {
            fs_err::write(path, &whole[..length]).unwrap();
            assert_kept(&world, image, "cut");
            let mut zeroed = whole.clone();
            zeroed[length..].fill(0);
            fs_err::write(path, &zeroed).unwrap();
            assert_kept(&world, image, "zeroed");
            // One sector of the unsynced part is lost while later ones are there.
            let mut hole = whole.clone();
            let end = (length + 64).min(whole.len());
            hole[length..end].fill(0);
            fs_err::write(path, &hole).unwrap();
            assert_kept(&world, image, "with a hole");
            tries += 3;
        }
    }
    assert!(tries > 300, "{tries}");
}

#[test]
fn content_reaches_the_disk_before_its_name_and_both_before_the_journal_goes() {
    let world = World::new();
    let images = record(&world);
    let last = |point: &str| {
        let found = images.iter().rposition(|image| image.point == point);
        found.unwrap_or_else(|| panic!("{point} was not passed"))
    };
    let order = [
        "journal.fsync.after",
        "snapshot.write.before",
        "snapshot.fsync.before",
        "snapshot.fsync.after",
        "backup.rename.after",
        "snapshot.rename.before",
        "snapshot.rename.after",
        "snapshot.folder-fsync.after",
        "journal.remove.before",
    ];
    for pair in order.windows(2) {
        assert!(last(pair[0]) < last(pair[1]), "{pair:?}");
    }
}
