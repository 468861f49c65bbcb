//! Calls from the ledger's files to rows: exact after a restart, told while the database waits.

use std::path::Path;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallEnd, CallId, CallPlace, CallStatus, Ledger as _, LedgerEntry, Usage};
use lockgate_store::{Journal, JournalLimits, SqliteStore, Store as _};

use crate::calls;
use crate::sqlite::open;

fn id(n: u32) -> CallId {
    calls::id(&format!("request-{n:06}"))
}

fn started(n: u32) -> LedgerEntry {
    started_at(n, i64::from(n))
}

fn started_at(n: u32, at: i64) -> LedgerEntry {
    LedgerEntry::Started(id(n), calls::start(Timestamp(at), calls::terms()))
}

fn settled(n: u32) -> LedgerEntry {
    let end = CallEnd {
        at: Timestamp(9),
        status: CallStatus::Ok,
        http_status: Some(200),
        usage: Usage {
            input: 7,
            output: 9,
            ..Usage::default()
        },
        estimated: false,
    };
    LedgerEntry::Settled(id(n), end)
}

async fn open_ledger(store: &SqliteStore, folder: &Path) -> Arc<Journal> {
    let folder = folder.join("ledger");
    let opened = store.open_ledger(&folder, JournalLimits::default(), Timestamp(10));
    opened.await.unwrap()
}

#[tokio::test]
async fn an_end_far_behind_what_was_applied_is_found_before_calls_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let journal = open_ledger(&store, folder.path()).await;
    // More than is read at once.
    let many = 8000;
    for n in 0..many {
        journal.append(&started(n)).unwrap();
        journal.append(&settled(n)).unwrap();
    }
    journal.append(&started(many)).unwrap();
    store.apply_ledger().await.unwrap();
    journal.append(&settled(many)).unwrap();
    journal.append(&started(many + 1)).unwrap();
    store.close().await;
    drop((store, journal));

    let store = open(folder.path(), 1).await;
    open_ledger(&store, folder.path()).await;
    let rows = store
        .find_calls(Timestamp(0), None, many + 2)
        .await
        .unwrap();
    assert_eq!(rows.len(), many as usize + 2);
    assert_eq!(rows[0].status, CallStatus::Recovered);
    for row in &rows[1..] {
        assert_eq!(
            (row.status, row.estimated),
            (CallStatus::Ok, false),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn pages_of_calls_join_to_the_whole_list() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let journal = open_ledger(&store, folder.path()).await;
    for n in 0..25 {
        // Many at one moment: the place must tell them apart.
        journal.append(&started_at(n, i64::from(n / 10))).unwrap();
    }
    let all = store.find_calls(Timestamp(0), None, 1000).await.unwrap();
    let mut joined = Vec::new();
    let mut after: Option<CallPlace> = None;
    loop {
        let page = store
            .find_calls(Timestamp(0), after.as_ref(), 4)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(CallPlace {
            at: last.start.at,
            id: last.id.clone(),
        });
        joined.extend(page);
    }
    assert_eq!(joined, all);
    assert_eq!(all.len(), 25);
}
