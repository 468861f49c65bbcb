//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

#[path = "../../../fuzz/values.rs"]
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_model::resource::{PendingKind, ResourceState};
use lockgate_model::{JournalEntry, PropertyMap, Rng, Snapshot, Timestamp, Urn, Value};

use crate::deployment::{ExportedSecrets, decode_deployment, encode_deployment};
use crate::journal::{entry, frame};
use crate::secrets::{Keyring, SecretsManager};
use values::Bytes;

/// The run that the journals here belong to.
const FENCING: u64 = 3;

/// A journal of frames made of the bytes, one byte of which is then broken or cut off: exactly
/// the whole frames before it are read, and damage to what was acknowledged is told.
pub fn frames(bytes: &[u8]) {
    let mut choices = Bytes(bytes);
    let mut journal = Vec::new();
    let mut ends = Vec::new();
    let mut durables = Vec::new();
    let mut durable = 0;
    for sequence in 0..u64::from(choices.byte() % 6) {
        if choices.byte() & 1 != 0 {
            durable = journal.len() as u64;
        }
        let length = usize::from(choices.byte()).min(choices.0.len());
        let (payload, rest) = choices.0.split_at(length);
        choices.0 = rest;
        frame::encode_frame(&mut journal, sequence, FENCING, durable, payload);
        ends.push(journal.len());
        durables.push(durable);
    }
    let whole = frame::scan(&journal, FENCING);
    assert_eq!(
        (whole.payloads.len(), whole.rest, whole.damaged_at),
        (ends.len(), 0, None)
    );
    assert!(
        frame::scan(&journal, FENCING + 1).payloads.is_empty(),
        "another run's"
    );
    let Some(last) = ends.last() else {
        return;
    };
    let at = (usize::from(choices.byte()) << 8 | usize::from(choices.byte())) % last;
    let broken = ends.iter().filter(|end| **end <= at).count();
    let start = broken.checked_sub(1).map_or(0, |before| ends[before]);

    let cut = frame::scan(&journal[..at], FENCING);
    assert_eq!(cut.payloads, whole.payloads[..broken], "cut at {at}");
    assert_eq!((cut.rest, cut.damaged_at), (at - start, None));

    journal[at] ^= choices.byte().max(1);
    let harmed = frame::scan(&journal, FENCING);
    assert_eq!(harmed.payloads, whole.payloads[..broken], "broken at {at}");
    let told = durables.iter().skip(broken + 1).any(|d| *d > start as u64);
    assert_eq!(harmed.damaged_at, told.then_some(start));
}

/// Any bytes as a journal: what is read lies in them, in order.
pub fn journal(bytes: &[u8]) {
    let scan = frame::scan(bytes, FENCING);
    let mut end = 0;
    for payload in &scan.payloads {
        assert_eq!(payload.start, end + frame::HEADER_BYTES);
        end = payload.end;
    }
    assert_eq!(end + scan.rest, bytes.len());
    if let Ok(entry) = entry::decode_entry("the entry", bytes, &WORLD.with(|w| w.secrets.clone())) {
        assert_entry(&entry);
    }
}

/// Entries with values of every kind are read as they were written.
pub fn entry(bytes: &[u8]) {
    let mut choices = Bytes(bytes);
    let resource = |choices: &mut Bytes<'_>| Arc::new(resource(choices));
    let entry = match choices.byte() % 3 {
        0 => JournalEntry::Begin {
            step: choices.byte().into(),
            kind: PendingKind::Creating,
            resource: resource(&mut choices),
            idempotency_key: choices.text(),
        },
        1 => JournalEntry::Done {
            step: None,
            remove: vec![lockgate_model::EntryId(choices.byte().into())],
            add: Some((lockgate_model::EntryId(7), resource(&mut choices))),
        },
        _ => JournalEntry::Outputs {
            entry: lockgate_model::EntryId(1),
            outputs: known(PropertyMap::from([("p".to_owned(), choices.value())])),
        },
    };
    assert_entry(&entry);
}

fn assert_entry(entry: &JournalEntry) {
    WORLD.with(|world| {
        let bytes = entry::encode_entry(entry, &world.secrets).expect("an entry can be written");
        let again = entry::decode_entry("the entry", &bytes, &world.secrets);
        let again = again.unwrap_or_else(|e| panic!("{e:?}: {}", String::from_utf8_lossy(&bytes)));
        assert!(again == *entry, "{again:?}\n{entry:?}");
    });
}

/// Any text is a deployment or refused; a deployment is written so that it reads the same, with
/// the keys that nobody knows, and with its secrets shown it still is the same.
pub fn deployment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    WORLD.with(|world| {
        let Ok(decoded) = decode_deployment(text, &world.keyring) else {
            return;
        };
        for shown in [ExportedSecrets::Encrypted, ExportedSecrets::Shown] {
            let text = world.encode(&decoded.snapshot, shown);
            let again = decode_deployment(&text, &world.keyring);
            let again = again.unwrap_or_else(|e| panic!("{e:?}: {text}"));
            // By text: a number that equals nothing is read as it stands too.
            let clear = |snapshot| world.encode(snapshot, ExportedSecrets::Shown);
            assert_eq!(clear(&again.snapshot), clear(&decoded.snapshot));
        }
    });
}

/// A stack of resources with values of every kind reads as it was written.
pub fn snapshot(bytes: &[u8]) {
    let mut choices = Bytes(bytes);
    let resources = (0..choices.byte() % 3).map(|n| {
        let mut resource = resource(&mut choices);
        resource.urn = Some(Urn::new("dev", "shop", None, "t:m:T", &n.to_string()));
        Arc::new(resource)
    });
    let snapshot = Snapshot {
        resources: resources.collect(),
        ..Snapshot::default()
    };
    if crate::deployment::check_integrity(&snapshot).is_err() {
        return;
    }
    WORLD.with(|world| {
        for shown in [ExportedSecrets::Encrypted, ExportedSecrets::Shown] {
            let text = world.encode(&snapshot, shown);
            let again = decode_deployment(&text, &world.keyring);
            let again = again.unwrap_or_else(|e| panic!("{e:?}: {text}"));
            assert!(again.snapshot == snapshot, "{text}");
        }
    });
}

/// Ciphertexts: any text opens or is refused; what was sealed opens; what was altered does not.
pub fn cell(bytes: &[u8]) {
    WORLD.with(|world| {
        let text = String::from_utf8_lossy(bytes);
        assert!(world.secrets.decrypt(&text).is_err(), "nobody sealed this");
        let sealed = world.secrets.encrypt(&text).expect("a text can be sealed");
        let opened = world.secrets.decrypt(&sealed).expect("it was sealed");
        assert_eq!(opened.expose().as_str(), text);
        let mut altered = sealed.into_bytes();
        let at = usize::from(bytes.first().copied().unwrap_or(0)) % altered.len();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        // The last digit before the padding has bits that stand for nothing: refused as well.
        assert!(world.secrets.decrypt(&altered).is_err(), "altered at {at}");
    });
}

/// A resource whose properties are made of the bytes.
fn resource(choices: &mut Bytes<'_>) -> ResourceState {
    let name = choices.text();
    let urn = Urn::new("dev", "shop", None, "t:m:T", &name);
    ResourceState {
        urn: Some(urn),
        custom: true,
        inputs: known(PropertyMap::from([(choices.text(), choices.value())])),
        outputs: known(PropertyMap::from([("o".to_owned(), choices.value())])),
        protect: choices.byte() & 1 != 0,
        ..ResourceState::default()
    }
}

/// A state holds no unknown values; they become null.
fn known(properties: PropertyMap) -> PropertyMap {
    if properties.values().any(Value::contains_unknown) {
        return PropertyMap::new();
    }
    properties
}

/// A key of this machine, made once per thread.
struct World {
    _home: tempfile::TempDir,
    keyring: Keyring,
    secrets: SecretsManager,
}

thread_local! {
    static WORLD: World = World::new();
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let keyring = Keyring::new(home.path(), None, Arc::new(Counting(AtomicU64::new(0))));
        let secrets = keyring.create_local().expect("a key");
        Self {
            _home: home,
            keyring,
            secrets,
        }
    }

    fn encode(&self, snapshot: &Snapshot, shown: ExportedSecrets) -> String {
        let mut out = Vec::new();
        let time = Timestamp::from_secs(1_700_000_000);
        encode_deployment(&mut out, snapshot, &self.secrets, shown, time)
            .expect("a snapshot can be written");
        String::from_utf8(out).expect("JSON is UTF-8")
    }
}

/// Counts upwards: every nonce differs, and runs repeat.
struct Counting(AtomicU64);

impl Rng for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            chunk.copy_from_slice(&count.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests;
