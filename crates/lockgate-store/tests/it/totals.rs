//! Sums over the ledger are exact, by group and by currency.

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallGroup, CallStatus, CallTerms, CallTotal, Cost, Ledger as _, LedgerEntry, Price,
    Rates, Usage,
};
use lockgate_store::{Journal, JournalLimits, Store as _};

use crate::calls;
use crate::sqlite::open;

const DAY: i64 = 24 * 60 * 60;

/// One call: who, when, in which currency, and how it ended.
struct Call(&'static str, i64, Option<&'static str>, Option<CallStatus>);

fn write(journal: &Journal, n: usize, Call(consumer, second, currency, status): &Call) {
    let id = calls::id(&format!("r{n}"));
    let rates = Rates {
        input: 150_000,
        cache_read: 75_000,
        output: 600_001,
        ..Rates::default()
    };
    let terms = CallTerms {
        consumer: (!consumer.is_empty()).then(|| (*consumer).into()),
        price: currency.map(|currency| Price {
            version: "0".into(),
            currency: currency.into(),
            rates,
        }),
        ..calls::terms()
    };
    let start = calls::start(Timestamp::from_secs(*second), terms);
    let start = LedgerEntry::Started(id.clone(), start);
    journal.append(&start).unwrap();
    let Some(status) = *status else { return };
    let end = CallEnd {
        at: Timestamp::from_secs(*second),
        status,
        http_status: Some(200),
        usage: Usage {
            input: 7,
            cache_read: 4,
            output: 3,
            ..Usage::default()
        },
        estimated: status != CallStatus::Ok,
    };
    journal.append(&LedgerEntry::Settled(id, end)).unwrap();
}

/// Totals as one line each: group, calls, open, failed, estimated, tokens, cost in pico-units.
fn told(totals: &[CallTotal]) -> Vec<String> {
    let line = |t: &CallTotal| {
        let group: Vec<&str> = t
            .group
            .iter()
            .map(|g| g.as_deref().unwrap_or("–"))
            .collect();
        format!(
            "{} {}: {} calls, {} open, {} failed, {} estimated, {}({})+{} tokens, {}",
            group.join(","),
            t.currency.as_deref().unwrap_or("–"),
            t.calls,
            t.open,
            t.failed,
            t.estimated,
            t.input,
            t.cache_read,
            t.output,
            t.cost.pico(),
        )
    };
    totals.iter().map(line).collect()
}

#[tokio::test]
async fn calls_are_added_up_by_group_and_never_across_currencies() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let ledger = folder.path().join("ledger");
    let journal = store
        .open_ledger(&ledger, JournalLimits::default(), Timestamp::from_secs(0))
        .await
        .unwrap();
    let ok = Some(CallStatus::Ok);
    let calls = [
        Call("a", DAY, Some("USD"), ok),
        Call("a", DAY + 1, Some("USD"), Some(CallStatus::Cut)),
        Call("a", 2 * DAY, Some("EUR"), Some(CallStatus::ClientCancelled)),
        Call("b", 2 * DAY, None, ok),
        Call("", 2 * DAY, Some("USD"), None),
        Call("b", DAY - 1, Some("USD"), ok),
    ];
    for (n, call) in calls.iter().enumerate() {
        write(&journal, n, call);
    }
    // 7 x 150,000 + 4 x 75,000 + 3 x 600,001; an open call costs its estimate, 11 x 150,000.
    let one = 3_150_003;
    let from = Timestamp::from_secs(DAY);
    let sum = async |by: &[CallGroup]| told(&store.sum_calls(from, by).await.unwrap());

    let two = 2 * one;
    assert_eq!(
        sum(&[CallGroup::Consumer]).await,
        [
            format!("a USD: 2 calls, 0 open, 1 failed, 1 estimated, 22(8)+6 tokens, {two}"),
            "– USD: 1 calls, 1 open, 0 failed, 1 estimated, 11(0)+0 tokens, 1650000".to_owned(),
            format!("a EUR: 1 calls, 0 open, 0 failed, 1 estimated, 11(4)+3 tokens, {one}"),
            "b –: 1 calls, 0 open, 0 failed, 0 estimated, 11(4)+3 tokens, 0".to_owned(),
        ]
    );
    let days = sum(&[CallGroup::Day, CallGroup::Status]).await;
    let names: Vec<&str> = days.iter().filter_map(|d| d.split(':').next()).collect();
    assert_eq!(
        names,
        [
            "1970-01-02,cut USD",
            "1970-01-02,ok USD",
            "1970-01-03,client_cancelled EUR",
            "1970-01-03,ok –",
            "1970-01-03,open USD",
        ]
    );
    let everything = store.sum_calls(Timestamp::from_secs(0), &[]).await.unwrap();
    let usd = everything
        .iter()
        .find(|t| t.currency.as_deref() == Some("USD"));
    let usd = usd.unwrap();
    assert_eq!(
        (usd.calls, usd.cost),
        (4, Cost::from_pico(3 * one + 1_650_000))
    );
}
