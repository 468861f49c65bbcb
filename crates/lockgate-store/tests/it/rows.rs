//! The ledger against a real database: one row per call, whatever is applied when, read twice or
//! left open by a node that died.

use std::path::Path;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallRow, CallStart, CallStatus, CallTerms, Ledger as _, LedgerEntry,
    Operation, Price, Rates, Usage,
};
use lockgate_store::{Journal, JournalLimits, SqliteStore, Store as _};
use proptest::prelude::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Row as _, SqlitePool};

use crate::calls;
use crate::sqlite::open;

const RATES: Rates = Rates {
    input: 1_500_000,
    cache_read: 0,
    cache_write: 0,
    input_audio: 0,
    output: 6_000_001,
    reasoning: 0,
    output_audio: 0,
};
const EPOCH: Timestamp = Timestamp(0);
const NOW: Timestamp = Timestamp(1_000_000);

/// A node's store and its ledger. Dropped, it is a node that was killed.
struct Node {
    store: SqliteStore,
    journal: Arc<Journal>,
}

impl Node {
    async fn start(folder: &Path, limits: JournalLimits) -> Self {
        Self::start_at(folder, limits, NOW).await
    }

    async fn start_at(folder: &Path, limits: JournalLimits, now: Timestamp) -> Self {
        let store = open(folder, 1).await;
        let files = folder.join("ledger");
        let journal = store.open_ledger(&files, limits, now).await.unwrap();
        Self { store, journal }
    }

    async fn stop(self) {
        self.store.close().await;
    }

    fn say(&self, entry: LedgerEntry) {
        self.journal.append(&entry).unwrap();
    }

    async fn apply(&self) {
        self.store.apply_ledger().await.unwrap();
    }

    async fn calls(&self) -> Vec<CallRow> {
        self.store.find_calls(EPOCH, None, 100_000).await.unwrap()
    }
}

/// The database from outside; made when it is not there.
async fn outside(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("node.db"))
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

async fn count(folder: &Path, query: &'static str) -> i64 {
    let pool = outside(folder).await;
    let row = sqlx::query(query).fetch_one(&pool).await.unwrap();
    let count = row.get(0);
    pool.close().await;
    count
}

async fn change(folder: &Path, statements: &'static str) {
    let pool = outside(folder).await;
    sqlx::raw_sql(statements).execute(&pool).await.unwrap();
    pool.close().await;
}

fn id(n: u32) -> CallId {
    calls::id(&format!("01a22466-784a-702a-93a7-{n:012x}"))
}

fn terms(n: u32) -> Arc<CallTerms> {
    Arc::new(CallTerms {
        consumer: n.is_multiple_of(2).then(|| "p/s/c".into()),
        alias: format!("alias-{n}").into(),
        price: (!n.is_multiple_of(3)).then(|| Price {
            version: "0123456789abcdef".into(),
            currency: "USD".into(),
            rates: RATES,
        }),
        ..calls::terms()
    })
}

fn started(n: u32, terms: &Arc<CallTerms>) -> LedgerEntry {
    let start = CallStart {
        at: Timestamp(i64::from(n)),
        terms: Arc::clone(terms),
        stream: true,
        input_estimate: 12,
    };
    LedgerEntry::Started(id(n), start)
}

fn end(n: u32) -> CallEnd {
    CallEnd {
        at: Timestamp(i64::from(n) + 1),
        status: CallStatus::Ok,
        http_status: Some(200),
        usage: Usage {
            input: u64::from(n),
            output: 3,
            ..Usage::default()
        },
        estimated: false,
    }
}

fn settled(n: u32) -> LedgerEntry {
    LedgerEntry::Settled(id(n), end(n))
}

#[tokio::test]
async fn a_call_is_seen_while_it_is_open_and_has_one_row_once_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    node.say(started(7, &terms(1)));
    node.say(LedgerEntry::Progress(id(7), 2));
    node.apply().await;
    let rows = "SELECT COUNT(*) FROM ai_call";
    assert_eq!(count(folder.path(), rows).await, 0, "it has not ended");
    let open = node.calls().await;
    assert_eq!((open.len(), open[0].status), (1, CallStatus::Open));
    assert_eq!((open[0].usage.input, open[0].usage.output), (12, 2));
    assert_eq!(open[0].cost, RATES.cost(&open[0].usage));
    node.say(LedgerEntry::Progress(id(7), 3));
    node.apply().await;
    assert_eq!(node.calls().await[0].usage.output, 3);
    node.say(settled(7));
    let calls = node.calls().await;
    assert_eq!((calls.len(), calls[0].status), (1, CallStatus::Ok));
    assert_eq!(calls[0].usage, end(7).usage);
    assert_eq!(calls[0].cost, RATES.cost(&end(7).usage));
    assert_eq!(count(folder.path(), rows).await, 1);
    let later = node.store.find_calls(Timestamp(8), None, 9).await.unwrap();
    assert_eq!(later, []);
    node.stop().await;
}

#[tokio::test]
async fn many_calls_of_many_terms_are_rows_with_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    let kinds: Vec<_> = (0..6).map(terms).collect();
    for n in 0..200 {
        node.say(started(n, &kinds[n as usize % 6]));
        node.say(settled(n));
    }
    node.say(started(200, &kinds[0]));
    let calls = node.calls().await;
    let numbers: Vec<i64> = calls.iter().map(|call| call.start.at.0).collect();
    assert_eq!(numbers, (0..=200).rev().collect::<Vec<_>>());
    for call in &calls[1..] {
        let n = u32::try_from(call.start.at.0).unwrap();
        assert_eq!(call.start.terms, kinds[n as usize % 6]);
        assert_eq!((&call.id, call.usage), (&id(n), end(n).usage));
    }
    let few = node.store.find_calls(EPOCH, None, 3).await.unwrap();
    assert_eq!(few, calls[..3]);
    let kinds = "SELECT COUNT(*) FROM ai_terms";
    assert_eq!(count(folder.path(), kinds).await, 6);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_died_leaves_calls_that_are_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    for n in 1..4 {
        node.say(started(n, &terms(1)));
    }
    node.say(LedgerEntry::Progress(id(2), 5));
    node.say(settled(3));
    node.apply().await;
    // What is appended now is applied by the next node.
    node.say(settled(1));
    node.stop().await;
    let segment = folder.path().join(format!("ledger/{:020}.ledger", 1));
    let bytes = fs_err::read(&segment).unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    let calls = node.calls().await;
    let statuses: Vec<_> = calls.iter().map(|call| call.status).collect();
    let (ok, recovered) = (CallStatus::Ok, CallStatus::Recovered);
    assert_eq!(statuses, [ok, recovered, ok]);
    assert_eq!((calls[1].usage.output, calls[1].estimated), (5, true));
    assert_eq!(calls[1].ended_at, Some(NOW));
    node.stop().await;
    // As if that node had died before it could remove the segment.
    assert!(!segment.exists());
    fs_err::write(&segment, bytes).unwrap();
    let later = Timestamp(NOW.0 + 1);
    let node = Node::start_at(folder.path(), JournalLimits::default(), later).await;
    assert_eq!(node.calls().await, calls);
    node.stop().await;
}

#[tokio::test]
async fn what_is_applied_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    for n in 0..70 {
        node.say(started(n, &terms(1)));
        node.say(settled(n));
    }
    let calls = node.calls().await;
    node.stop().await;
    change(
        folder.path(),
        "DELETE FROM counter WHERE name = 'ai_ledger_applied'",
    )
    .await;
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    assert_eq!(node.calls().await, calls);
    node.stop().await;
}

#[tokio::test]
async fn a_database_that_fails_costs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    node.say(started(1, &terms(1)));
    node.apply().await;
    change(folder.path(), "ALTER TABLE ai_call RENAME TO gone").await;
    node.say(settled(1));
    node.say(started(2, &terms(2)));
    for _ in 0..2 {
        assert!(node.store.apply_ledger().await.is_err());
    }
    node.say(settled(2));
    change(folder.path(), "ALTER TABLE gone RENAME TO ai_call").await;
    let calls = node.calls().await;
    let statuses: Vec<_> = calls.iter().map(|call| call.status).collect();
    assert_eq!(statuses, [CallStatus::Ok; 2]);
    assert_eq!(calls[0].start.terms, terms(2));
    node.stop().await;
}

#[tokio::test]
async fn a_long_call_does_not_hold_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        segment_bytes: 8192,
        reserve_bytes: 1024,
        segments_max: 20,
    };
    let node = Node::start(folder.path(), limits).await;
    let kind = terms(1);
    node.say(started(0, &kind));
    let files = || {
        fs_err::read_dir(folder.path().join("ledger"))
            .unwrap()
            .count()
    };
    for n in 1..4000 {
        node.say(started(n, &kind));
        node.say(settled(n));
        if n % 50 == 0 {
            node.apply().await;
        }
    }
    assert!(files() <= 10, "{} files", files());
    assert_eq!(node.calls().await.last().unwrap().status, CallStatus::Open);
    // Its row is in SQL already, open.
    let open = "SELECT COUNT(*) FROM ai_call WHERE status = 'open'";
    assert_eq!(count(folder.path(), open).await, 1);
    node.say(LedgerEntry::Progress(id(0), 9));
    node.apply().await;
    assert_eq!(node.calls().await.last().unwrap().usage.output, 9);
    node.say(settled(0));
    let calls = node.calls().await;
    assert_eq!(calls.len(), 4000);
    assert!(calls.iter().all(|call| call.status == CallStatus::Ok));
    assert_eq!(count(folder.path(), open).await, 0);
    node.stop().await;
}

/// What the release before schema 3 and binary entries left behind: its rows, one open, and its
/// segment.
async fn old_home(folder: &Path) {
    change(folder, include_str!("../../migrations/0001_objects.sql")).await;
    change(folder, include_str!("../../migrations/0002_ai.sql")).await;
    change(folder, include_str!("release_2.sql")).await;
    let ledger = folder.join("ledger");
    fs_err::create_dir(&ledger).unwrap();
    let segment = include_bytes!("../../src/ledger/testdata/json.ledger");
    fs_err::write(ledger.join(format!("{:020}.ledger", 1)), segment).unwrap();
}

#[tokio::test]
async fn the_home_of_an_older_release_keeps_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    old_home(folder.path()).await;
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    let calls = node.calls().await;
    node.stop().await;
    let statuses: Vec<_> = calls.iter().map(|call| call.status).collect();
    let (ok, recovered) = (CallStatus::Ok, CallStatus::Recovered);
    assert_eq!(statuses, [recovered, ok, ok, ok, ok]);
    let embeddings = &calls[3];
    assert_eq!(embeddings.start.terms.operation, Operation::Embeddings);
    assert_eq!(
        (embeddings.cost.micros, embeddings.cost.rest_pico),
        (2, 800_000)
    );
    let kinds = "SELECT COUNT(*) FROM ai_terms";
    assert_eq!(count(folder.path(), kinds).await, 3);
    // The same calls once more, from the segment alone.
    let folder = tempfile::tempdir().unwrap();
    old_home(folder.path()).await;
    change(folder.path(), "DELETE FROM ai_call").await;
    change(folder.path(), "DELETE FROM counter").await;
    let node = Node::start(folder.path(), JournalLimits::default()).await;
    assert_eq!(node.calls().await, calls[1..]);
    node.stop().await;
}

/// One thing that happens to a ledger.
#[derive(Clone, Copy, Debug)]
enum Act {
    Start(u32),
    Progress(u32, u64),
    End(u32),
    Apply,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let call = || 0_u32..12;
    let act = prop_oneof![
        4 => call().prop_map(Act::Start),
        2 => (call(), 1_u64..9).prop_map(|(n, output)| Act::Progress(n, output)),
        4 => call().prop_map(Act::End),
        3 => Just(Act::Apply),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..40)
}

/// Runs `acts` on a node and on a map; what cannot happen in this order is left out.
async fn compare(acts: &[Act]) {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        segment_bytes: 2400,
        reserve_bytes: 200,
        segments_max: 50,
    };
    let mut node = Node::start(folder.path(), limits).await;
    let mut expected: std::collections::BTreeMap<u32, (CallStatus, u64)> = Default::default();
    for act in acts {
        match *act {
            Act::Start(n) if !expected.contains_key(&n) => {
                node.say(started(n, &terms(n)));
                expected.insert(n, (CallStatus::Open, 0));
            }
            Act::Progress(n, output) => match expected.get_mut(&n) {
                Some((CallStatus::Open, seen)) => {
                    node.say(LedgerEntry::Progress(id(n), output));
                    *seen = output;
                }
                _ => continue,
            },
            Act::End(n) => match expected.get_mut(&n) {
                Some(call) if call.0 == CallStatus::Open => {
                    node.say(settled(n));
                    *call = (CallStatus::Ok, 3);
                }
                _ => continue,
            },
            Act::Apply => node.apply().await,
            Act::Restart => {
                node.stop().await;
                node = Node::start(folder.path(), limits).await;
                for call in expected.values_mut() {
                    if call.0 == CallStatus::Open {
                        call.0 = CallStatus::Recovered;
                    }
                }
            }
            Act::Start(_) => {}
        }
    }
    let found = node.calls().await;
    let found: Vec<_> = found
        .iter()
        .rev()
        .map(|call| (call.id.clone(), (call.status, call.usage.output)))
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(n, call)| (id(n), call))
        .collect();
    assert_eq!(found, expected);
    node.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_rows_are_what_the_entries_say(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(compare(&acts));
    }
}
