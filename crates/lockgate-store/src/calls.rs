//! Calls to AI vendors in SQL: applied from the ledger's files, found by time.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallPlace, CallRow, CallStart, CallStatus, Cost, LedgerEntry, LedgerHealth,
    Operation, Price, Usage,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use crate::document::{parse, render};
use crate::ledger::record::{counts, prices, rates, usage};
use crate::ledger::{APPLY_COMMITTED, APPLY_COUNTED, APPLY_ROWS, Journal, JournalLimits, RECOVER};
use crate::sqlite::{COUNTER_ADD, signed, sql, unsigned};
use crate::{DocumentError, SqliteStore, StoreError};

const APPLIED: &str = "ai_ledger_applied";

const COUNTER_FIND: &str = "SELECT value FROM counter WHERE name = ?1";
const CALL_FIND: &str = "SELECT * FROM ai_call WHERE request = ?1 AND attempt = ?2";
const CALL_PUT: &str = "INSERT INTO ai_call (request, attempt, at, ended_at, route, consumer, \
    api_key, alias, vendor, vendor_model, operation, stream, status, http_status, input_estimate, \
    usage, input_tokens, output_tokens, estimated, price_version, currency, rates, cost_micros, \
    cost_rest_pico) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
    ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) \
    ON CONFLICT (request, attempt) DO UPDATE SET ended_at = ?4, status = ?13, http_status = ?14, \
    usage = ?16, input_tokens = ?17, output_tokens = ?18, estimated = ?19, cost_micros = ?23, \
    cost_rest_pico = ?24 WHERE status = 'open'";
const CALL_OPEN: &str = "SELECT * FROM ai_call WHERE status = 'open'";
const CALL_LIST: &str = "SELECT * FROM ai_call \
    WHERE at >= ?1 AND (at, request, attempt) < (?3, ?4, ?5) \
    ORDER BY at DESC, request DESC, attempt DESC LIMIT ?2";

/// What entries of one batch say of one call.
#[derive(Default)]
struct Said {
    start: Option<Box<CallStart>>,
    output: Option<u64>,
    end: Option<CallEnd>,
}

impl SqliteStore {
    /// Opens the ledger's files in `folder`, applies what they hold, and settles the calls that a
    /// dead node left open with what it had seen of them. Before this the store finds no calls
    /// of the running node; call it once, before the gateway starts.
    pub async fn open_ledger(
        &self,
        folder: &Path,
        limits: JournalLimits,
        now: Timestamp,
    ) -> Result<Arc<Journal>, StoreError> {
        let applied = self.applied().await?;
        let hook = self.ledger_hook.clone();
        let journal = Journal::open(folder, limits, applied, hook).map_err(ledger)?;
        let journal = Arc::clone(self.ledger.get_or_init(|| Arc::new(journal)));
        self.apply_ledger().await?;
        self.recover_calls(now).await?;
        Ok(journal)
    }

    /// Applies every entry that is in the ledger's files and not in the database. That it fails,
    /// and that it works again, is told to the log once.
    pub async fn apply_ledger(&self) -> Result<(), StoreError> {
        let Some(journal) = self.ledger.get() else {
            return Ok(());
        };
        let _turn = self.applying.lock().await;
        let result = self.apply_all(journal).await;
        journal.make_room();
        let failed = result.is_err();
        if self.behind.swap(failed, Ordering::AcqRel) != failed {
            match &result {
                Ok(()) => tracing::info!("the database takes entries of the ledger again"),
                Err(error) => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(error, "the ledger waits for the database");
                }
            }
        }
        result
    }

    async fn apply_all(&self, journal: &Journal) -> Result<(), StoreError> {
        journal.sync().map_err(ledger)?;
        loop {
            let (entries, position) = journal.read().map_err(ledger)?;
            let applied = self.applied().await?;
            // Entries that are all known are no end: after a restart the reader begins before them.
            let Some((last, _)) = entries.last() else {
                return journal.seen(position, applied).map_err(ledger);
            };
            let last = *last;
            let fresh: Vec<LedgerEntry> = entries
                .into_iter()
                .filter_map(|(number, entry)| (number > applied).then_some(entry))
                .collect();
            if last > applied {
                self.apply_entries(journal, fresh, last - applied).await?;
                journal.pass(APPLY_COMMITTED);
            }
            journal.seen(position, last.max(applied)).map_err(ledger)?;
        }
    }

    /// How the ledger is; `None` before it is opened.
    pub(crate) fn find_ledger_health(&self) -> Option<LedgerHealth> {
        let health = self.ledger.get()?.health();
        Some(LedgerHealth {
            behind: self.behind.load(Ordering::Acquire),
            ..health
        })
    }

    async fn applied(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(COUNTER_FIND)
            .bind(APPLIED)
            .fetch_optional(&self.pool)
            .await
            .map_err(sql("find how far the ledger was applied"))?;
        Ok(row.map_or(0, |row| unsigned(&row, "value")))
    }

    async fn apply_entries(
        &self,
        journal: &Journal,
        entries: Vec<LedgerEntry>,
        count: u64,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "apply entries of the ledger";
        let mut calls: BTreeMap<CallId, Said> = BTreeMap::new();
        for entry in entries {
            match entry {
                LedgerEntry::Started(id, start) => calls.entry(id).or_default().start = Some(start),
                LedgerEntry::Progress(id, n) => calls.entry(id).or_default().output = Some(n),
                LedgerEntry::Settled(id, end) => calls.entry(id).or_default().end = Some(end),
            }
        }
        let mut transaction = self.begin(OPERATION).await?;
        for (id, said) in calls {
            let row = match said.start {
                Some(start) => Some(open(id, *start)),
                None => find(&mut transaction, &id).await?,
            };
            // An end without a start cannot be: the start is written first.
            let Some(mut row) = row else { continue };
            if let Some(output) = said.output {
                row.usage.output = output;
                row.cost = cost(&row);
            }
            if let Some(end) = said.end {
                settle(&mut row, end);
            }
            put(&mut transaction, &row).await?;
        }
        journal.pass(APPLY_ROWS);
        sqlx::query(COUNTER_ADD)
            .bind(APPLIED)
            .bind(signed(count))
            .execute(&mut *transaction)
            .await
            .map_err(sql(OPERATION))?;
        journal.pass(APPLY_COUNTED);
        transaction.commit().await.map_err(sql(OPERATION))
    }

    async fn recover_calls(&self, now: Timestamp) -> Result<(), StoreError> {
        const OPERATION: &str = "settle the calls of a node that died";
        let mut transaction = self.begin(OPERATION).await?;
        let rows = sqlx::query(CALL_OPEN)
            .fetch_all(&mut *transaction)
            .await
            .map_err(sql(OPERATION))?;
        for row in &rows {
            let mut row = call_row(row)?;
            let end = CallEnd {
                at: now,
                status: CallStatus::Recovered,
                http_status: None,
                usage: row.usage,
                estimated: true,
            };
            settle(&mut row, end);
            put(&mut transaction, &row).await?;
        }
        if let Some(hook) = &self.ledger_hook {
            hook(RECOVER);
        }
        transaction.commit().await.map_err(sql(OPERATION))
    }

    pub(crate) async fn list_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, StoreError> {
        // A database that takes nothing still tells what it has; that it is behind is told beside.
        let _ = self.apply_ledger().await;
        let rows = sqlx::query(CALL_LIST)
            .bind(from.0)
            .bind(limit)
            .bind(after.map_or(i64::MAX, |place| place.at.0))
            .bind(after.map_or("", |place| &*place.id.request))
            .bind(after.map_or(0, |place| place.id.attempt))
            .fetch_all(&self.pool)
            .await
            .map_err(sql("find calls to AI vendors"))?;
        rows.iter().map(call_row).collect()
    }
}

fn ledger(source: io::Error) -> StoreError {
    StoreError::Ledger(source)
}

fn open(id: CallId, start: CallStart) -> CallRow {
    let usage = Usage {
        input: start.input_estimate,
        ..Usage::default()
    };
    let mut row = CallRow {
        id,
        start,
        ended_at: None,
        status: CallStatus::Open,
        http_status: None,
        usage,
        estimated: true,
        cost: Cost::default(),
    };
    row.cost = cost(&row);
    row
}

fn settle(row: &mut CallRow, end: CallEnd) {
    row.ended_at = Some(end.at);
    row.status = end.status;
    row.http_status = end.http_status;
    row.usage = end.usage;
    row.estimated = end.estimated;
    row.cost = cost(row);
}

fn cost(row: &CallRow) -> Cost {
    let price = row.start.price.as_ref();
    price.map_or_else(Cost::default, |price| price.rates.cost(&row.usage))
}

async fn find(
    transaction: &mut Transaction<'static, Sqlite>,
    id: &CallId,
) -> Result<Option<CallRow>, StoreError> {
    let row = sqlx::query(CALL_FIND)
        .bind(&*id.request)
        .bind(id.attempt)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(sql("find a call to an AI vendor"))?;
    row.as_ref().map(call_row).transpose()
}

async fn put(
    transaction: &mut Transaction<'static, Sqlite>,
    row: &CallRow,
) -> Result<(), StoreError> {
    let start = &row.start;
    let price = start.price.as_ref();
    sqlx::query(CALL_PUT)
        .bind(&*row.id.request)
        .bind(row.id.attempt)
        .bind(start.at.0)
        .bind(row.ended_at.map(|at| at.0))
        .bind(&*start.route)
        .bind(start.consumer.as_deref())
        .bind(start.api_key.as_deref())
        .bind(&*start.alias)
        .bind(&*start.vendor)
        .bind(&*start.vendor_model)
        .bind(start.operation.as_str())
        .bind(start.stream)
        .bind(row.status.as_str())
        .bind(row.http_status)
        .bind(signed(start.input_estimate))
        .bind(render(&counts(&row.usage)))
        .bind(signed(row.usage.total_input()))
        .bind(signed(row.usage.total_output()))
        .bind(row.estimated)
        .bind(price.map(|p| &*p.version))
        .bind(price.map(|p| &*p.currency))
        .bind(price.map(|p| render(&prices(&p.rates))))
        .bind(signed(row.cost.micros))
        .bind(row.cost.rest_pico)
        .execute(&mut **transaction)
        .await
        .map_err(sql("save a call to an AI vendor"))?;
    Ok(())
}

fn call_row(row: &SqliteRow) -> Result<CallRow, StoreError> {
    let request: &str = row.get("request");
    let damaged = |source| StoreError::Document {
        kind: "call to an AI vendor",
        name: request.to_owned(),
        source,
    };
    let word = |column: &str| row.get::<&str, _>(column);
    let shared = |column: &str| Arc::<str>::from(word(column));
    let maybe = |column: &str| row.get::<Option<&str>, _>(column).map(Arc::<str>::from);
    let price = match (maybe("price_version"), maybe("currency"), maybe("rates")) {
        (Some(version), Some(currency), Some(text)) => Some(Price {
            version,
            currency,
            rates: rates(parse(&text).map_err(damaged)?),
        }),
        _ => None,
    };
    let operation = Operation::parse(word("operation"));
    let status = CallStatus::parse(word("status"));
    Ok(CallRow {
        id: CallId {
            request: request.into(),
            attempt: row.get("attempt"),
        },
        start: CallStart {
            at: Timestamp(row.get("at")),
            route: shared("route"),
            consumer: maybe("consumer"),
            api_key: maybe("api_key"),
            alias: shared("alias"),
            vendor: shared("vendor"),
            vendor_model: shared("vendor_model"),
            operation: operation.ok_or_else(|| damaged(DocumentError::Field("operation")))?,
            stream: row.get("stream"),
            input_estimate: unsigned(row, "input_estimate"),
            price,
        },
        ended_at: row.get::<Option<i64>, _>("ended_at").map(Timestamp),
        status: status.ok_or_else(|| damaged(DocumentError::Field("status")))?,
        http_status: row.get("http_status"),
        usage: usage(parse(word("usage")).map_err(damaged)?),
        estimated: row.get("estimated"),
        cost: Cost {
            micros: unsigned(row, "cost_micros"),
            rest_pico: row.get("cost_rest_pico"),
        },
    })
}
