//! Time of the state's part of a first `up`: 5,000 resources of 2 KB, each with a durable entry
//! before and after its step, 64 steps at a time. Run with
//! `cargo bench -p lockgate-state --bench first_up -- [folder]`; give a folder on a real disk,
//! because fsync costs nothing on a file system in memory.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program: it reads the real clock, prints, and may fail loudly"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lockgate_engine::{Durability, Journal};
use lockgate_model::resource::PendingKind;
use lockgate_model::{Clock, EntryId, JournalEntry, ResourceState, Rng, Timestamp, Urn, Value};
use lockgate_state::{Backend, Keyring, StackName};

const RESOURCES: u64 = 5_000;
const STEPS_AT_ONCE: usize = 64;

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp(i64::try_from(since.as_nanos()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct Counter(std::sync::atomic::AtomicU64);

impl Rng for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let next = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn resource(index: u64) -> ResourceState {
    let texts = (0..8).map(|n| (format!("property{n}"), Value::from("x".repeat(110))));
    let mut inputs: lockgate_model::PropertyMap = texts.collect();
    inputs.insert("password".to_owned(), Value::from("hunter2").into_secret());
    ResourceState {
        urn: Some(Urn::new(
            "dev",
            "bench",
            None,
            "test:index:Thing",
            &format!("r{index}"),
        )),
        custom: true,
        id: format!("id-{index}"),
        outputs: inputs.clone(),
        inputs,
        ..ResourceState::default()
    }
}

async fn step(journal: &dyn Journal, index: u64) {
    let begin = JournalEntry::Begin {
        step: index,
        kind: PendingKind::Creating,
        resource: Arc::new(resource(index)),
        idempotency_key: format!("key-{index}"),
    };
    journal
        .append(vec![begin], Durability::Durable)
        .await
        .unwrap();
    let done = JournalEntry::Done {
        step: Some(index),
        remove: Vec::new(),
        add: Some((EntryId(index), Arc::new(resource(index)))),
    };
    journal
        .append(vec![done], Durability::Durable)
        .await
        .unwrap();
}

fn main() {
    let base = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let folder = match base {
        Some(base) => tempfile::tempdir_in(base).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let rng = Arc::new(Counter(Default::default()));
    let keyring = Arc::new(Keyring::new(folder.path(), None, rng));
    let backend = Backend::open(folder.path(), keyring, Arc::new(WallClock)).unwrap();
    let stack = StackName::new("bench", "dev").unwrap();
    let secrets = backend.keyring().create_local().unwrap();
    backend.create_stack(&stack, &secrets).unwrap();
    let lease = backend.acquire(&stack, "bench").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();

    let begin = Instant::now();
    let (_, journal) = backend.start_run(&lease).unwrap();
    runtime.block_on(
        futures_util::stream::iter(0..RESOURCES)
            .for_each_concurrent(STEPS_AT_ONCE, |index| step(&journal, index)),
    );
    let steps = begin.elapsed();
    runtime.block_on(journal.commit()).unwrap();
    println!(
        "first up   {:>7.0?} steps, {:>7.0?} commit",
        steps,
        begin.elapsed() - steps
    );

    let begin = Instant::now();
    let (loaded, journal) = backend.start_run(&lease).unwrap();
    let load = begin.elapsed();
    let keep = (0..loaded.snapshot.resources.len() as u64).map(|entry| JournalEntry::Keep {
        entry: EntryId(entry),
    });
    runtime
        .block_on(journal.append(keep.collect(), Durability::Queued))
        .unwrap();
    runtime.block_on(journal.commit()).unwrap();
    println!(
        "no-op up   {:>7.0?} load, {:>7.0?} rest",
        load,
        begin.elapsed() - load
    );
    let bytes = fs_err::metadata(folder.path().join("stacks/bench/dev/snapshot.json")).unwrap();
    println!("snapshot   {:.1} MB", bytes.len() as f64 / 1e6);
    lease.release().unwrap();
}
