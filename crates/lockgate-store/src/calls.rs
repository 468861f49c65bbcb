//! Calls to AI vendors in SQL: applied from the ledger's files, found by time.
//!
//! A call becomes a row when it ends. Until then its start is in the ledger's files and in memory;
//! it gets an open row only when its file is in the way or somebody asks for calls.

mod applier;
mod rows;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallEnd, CallPlace, CallRow, CallStatus, LedgerHealth};

pub(crate) use self::applier::Applier;
use self::applier::{Step, settle};
use self::rows::call_row;
use crate::ledger::{APPLY_COMMITTED, APPLY_COUNTED, APPLY_ROWS, Journal, JournalLimits, RECOVER};
use crate::sqlite::{signed, sql, unsigned};
use crate::{SqliteStore, StoreError};

/// Name of the counter that says how far the ledger was applied.
const APPLIED: &str = "ai_ledger_applied";

const APPLIED_FIND: &str = "SELECT value FROM counter WHERE name = ?1";
const APPLIED_PUT: &str = "INSERT INTO counter (name, value) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET value = MAX(value, excluded.value)";
const CALL_OPEN: &str = "SELECT * FROM ai_call JOIN ai_terms ON id = terms WHERE status = 'open'";
const CALL_LIST: &str = "SELECT * FROM ai_call JOIN ai_terms ON id = terms \
    WHERE at >= ?1 AND (at, request, attempt) < (?3, ?4, ?5) \
    ORDER BY at DESC, request DESC, attempt DESC LIMIT ?2";

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
        self.applier.lock().await.begin(applied);
        self.recover_calls(&journal, now).await?;
        Ok(journal)
    }

    /// Applies every entry that is in the ledger's files and was not yet; costs next to nothing
    /// when there is none. That it fails, and that it works again, is told to the log once.
    pub async fn apply_ledger(&self) -> Result<(), StoreError> {
        let Some(journal) = self.ledger.get() else {
            return Ok(());
        };
        let mut applier = self.applier.lock().await;
        let result = self.apply_all(journal, &mut applier).await;
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

    async fn apply_all(&self, journal: &Journal, applier: &mut Applier) -> Result<(), StoreError> {
        journal.sync().map_err(ledger)?;
        while !journal.is_seen() {
            let batch = journal.read(&mut applier.shared).map_err(ledger)?;
            let done = batch.entries.is_empty();
            let mut step = applier.step(batch.entries);
            step.move_to_sql(applier, journal.crowded_before());
            self.apply_step(journal, applier, step).await?;
            journal.seen(batch.position);
            journal.remove_before(applier.kept()).map_err(ledger)?;
            if done {
                break;
            }
        }
        Ok(())
    }

    /// Makes rows of the calls under way too, so that questions need to ask nothing but the
    /// database.
    async fn apply_open(&self) -> Result<(), StoreError> {
        self.apply_ledger().await?;
        let Some(journal) = self.ledger.get() else {
            return Ok(());
        };
        let mut applier = self.applier.lock().await;
        let mut step = applier.step(Vec::new());
        step.move_to_sql(&applier, u64::MAX);
        self.apply_step(journal, &mut applier, step).await
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
        let row = sqlx::query(APPLIED_FIND)
            .bind(APPLIED)
            .fetch_optional(&self.pool)
            .await
            .map_err(sql("find how far the ledger was applied"))?;
        Ok(row.map_or(0, |row| unsigned(&row, "value")))
    }

    /// Brings a step into the database, then into the applier: never the other way round.
    async fn apply_step(
        &self,
        journal: &Journal,
        applier: &mut Applier,
        mut step: Step,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "apply entries of the ledger";
        if step.is_without_rows() {
            applier.take(step, Vec::new());
            return Ok(());
        }
        let mut transaction = self.begin(OPERATION).await?;
        for (id, said) in std::mem::take(&mut step.elsewhere) {
            // An end without a start cannot be: the start is written first.
            if let Some(mut row) = rows::find(&mut transaction, &id).await? {
                said.apply(&mut row);
                step.rows.push(row);
            }
        }
        let terms = rows::put(&mut transaction, applier, &step.rows).await?;
        journal.pass(APPLY_ROWS);
        sqlx::query(APPLIED_PUT)
            .bind(APPLIED)
            .bind(signed(step.applied))
            .execute(&mut *transaction)
            .await
            .map_err(sql(OPERATION))?;
        journal.pass(APPLY_COUNTED);
        transaction.commit().await.map_err(sql(OPERATION))?;
        journal.pass(APPLY_COMMITTED);
        applier.take(step, terms);
        Ok(())
    }

    /// Applies what a dead node left, and settles what it left open.
    async fn recover_calls(&self, journal: &Journal, now: Timestamp) -> Result<(), StoreError> {
        const OPERATION: &str = "settle the calls of a node that died";
        self.apply_open().await?;
        let mut applier = self.applier.lock().await;
        let mut transaction = self.begin(OPERATION).await?;
        let stored = sqlx::query(CALL_OPEN)
            .fetch_all(&mut *transaction)
            .await
            .map_err(sql(OPERATION))?;
        let mut rows: Vec<CallRow> = stored.iter().map(call_row).collect::<Result<_, _>>()?;
        for row in &mut rows {
            let end = CallEnd {
                at: now,
                status: CallStatus::Recovered,
                http_status: None,
                usage: row.usage,
                estimated: true,
            };
            settle(row, end);
        }
        let terms = rows::put(&mut transaction, &applier, &rows).await?;
        journal.pass(RECOVER);
        transaction.commit().await.map_err(sql(OPERATION))?;
        applier.know(terms);
        journal.remove_before(applier.kept()).map_err(ledger)
    }

    pub(crate) async fn list_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, StoreError> {
        self.apply_for_question().await;
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

    /// Brings everything into the database before it is asked. One that takes nothing still tells
    /// what it has; that it is behind is told beside.
    pub(crate) async fn apply_for_question(&self) {
        let _ = self.apply_open().await;
    }
}

fn ledger(source: io::Error) -> StoreError {
    StoreError::Ledger(source)
}
