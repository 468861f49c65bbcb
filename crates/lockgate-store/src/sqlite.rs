//! The store on SQLite.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lockgate_model::ai::{CallGroup, CallPlace, CallRow, CallTotal, LedgerHealth};
use lockgate_model::gateway::ConsumerSpec;
use lockgate_model::{Rng, Timestamp};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _, SqlStr, Sqlite, SqliteConnection, Transaction};

use crate::calls::Applier;
use crate::document::ai::{ModelDocument, VendorDocument};
use crate::document::{
    ApiKeyDocument, ConsumerDocument, RouteDocument, ServiceDocument, parse, render,
};
use crate::ledger::{FaultHook, Journal};
use crate::seal::Sealer;
use crate::{
    Act, AuditRow, Change, DocumentError, LATENCY_BUCKETS, NodeKey, Objects, Rollup, Store,
    StoreError,
};

/// Every schema change, forward only. A file that was released is never edited.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "objects", include_str!("../migrations/0001_objects.sql")),
    (2, "ai", include_str!("../migrations/0002_ai.sql")),
    (
        3,
        "ai_terms",
        include_str!("../migrations/0003_ai_terms.sql"),
    ),
];

const SPEC_VERSION: &str = "gateway_spec_version";

/// Rows of the audit chain read at once while it is verified.
const VERIFY_PAGE: u32 = 1000;

/// One SQLite file in WAL mode. Its single connection is the writer queue: transactions of this
/// node never meet, so none fails as busy, and every read sees the write before it.
pub struct SqliteStore {
    pub(crate) pool: SqlitePool,
    sealer: Sealer,
    audit_key: [u8; 32],
    rng: Arc<dyn Rng>,
    /// Set once the node has opened its ledger.
    pub(crate) ledger: OnceLock<Arc<Journal>>,
    /// How far the ledger was applied; locked while it is, so that one does it at a time.
    pub(crate) applier: tokio::sync::Mutex<Applier>,
    /// The last application failed.
    pub(crate) behind: AtomicBool,
    pub(crate) ledger_hook: Option<FaultHook>,
}

impl SqliteStore {
    /// Opens or creates the file (its folder must exist) and migrates it. A file of a newer
    /// release is refused.
    pub async fn open(path: &Path, key: &NodeKey, rng: Arc<dyn Rng>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(is_usable(connection)))
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open {
                path: path.display().to_string(),
                source,
            })?;
        migrator().run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self {
            pool,
            sealer: Sealer::new(&key.seal_key()),
            audit_key: key.audit_key(),
            rng,
            ledger: OnceLock::new(),
            applier: tokio::sync::Mutex::default(),
            behind: AtomicBool::new(false),
            ledger_hook: None,
        })
    }

    /// Announces the ledger's effects to `hook`, for crash tests.
    #[must_use]
    pub fn with_fault_hook(mut self, hook: Option<FaultHook>) -> Self {
        self.ledger_hook = hook;
        self
    }

    /// Waits for running statements and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Kind, name and document of what a change puts; `None` as document for a removal.
    fn encode(&self, change: &Change) -> (&'static str, String, Option<String>) {
        match change {
            Change::PutService(service) => {
                let document = ServiceDocument::new(service, &self.sealer, self.rng.as_ref());
                (
                    "service",
                    service.spec.id.to_string(),
                    Some(render(&document)),
                )
            }
            Change::RemoveService(id) => ("service", id.to_string(), None),
            Change::PutRoute(route) => {
                let document = render(&RouteDocument::from(route.as_ref()));
                ("route", route.name.clone(), Some(document))
            }
            Change::RemoveRoute(name) => ("route", name.clone(), None),
            Change::PutConsumer(ConsumerSpec { name }) => (
                "consumer",
                name.clone(),
                Some(render(&ConsumerDocument::V1 {})),
            ),
            Change::RemoveConsumer(name) => ("consumer", name.clone(), None),
            Change::PutApiKey(key) => {
                let document = render(&ApiKeyDocument::from(key));
                ("api_key", key.id.clone(), Some(document))
            }
            Change::RemoveApiKey(id) => ("api_key", id.clone(), None),
            Change::PutVendor(vendor) => {
                let document = VendorDocument::new(vendor, &self.sealer, self.rng.as_ref());
                ("ai_vendor", vendor.name.clone(), Some(render(&document)))
            }
            Change::RemoveVendor(name) => ("ai_vendor", name.clone(), None),
            Change::PutModel(model) => {
                let document = render(&ModelDocument::from(model));
                ("ai_model", model.name.clone(), Some(document))
            }
            Change::RemoveModel(name) => ("ai_model", name.clone(), None),
        }
    }

    /// Adds one stored object to `objects`.
    fn decode(
        &self,
        objects: &mut Objects,
        kind: &str,
        name: &str,
        text: &str,
    ) -> Result<(), DocumentError> {
        match kind {
            "service" => {
                let document: ServiceDocument = parse(text)?;
                objects
                    .services
                    .push(document.into_model(name, &self.sealer)?);
            }
            "route" => {
                let document: RouteDocument = parse(text)?;
                objects.routes.push(document.into_model(name.to_owned())?);
            }
            "consumer" => {
                let document: ConsumerDocument = parse(text)?;
                objects.consumers.push(document.into_model(name.to_owned()));
            }
            "api_key" => {
                let document: ApiKeyDocument = parse(text)?;
                objects.api_keys.push(document.into_model(name.to_owned())?);
            }
            "ai_vendor" => {
                let document: VendorDocument = parse(text)?;
                let vendor = document.into_model(name.to_owned(), &self.sealer)?;
                objects.vendors.push(vendor);
            }
            "ai_model" => {
                let document: ModelDocument = parse(text)?;
                objects.models.push(document.into_model(name.to_owned()));
            }
            _ => return Err(DocumentError::Field("kind")),
        }
        Ok(())
    }

    async fn append_audit(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        act: &Act,
        action: &'static str,
        object: String,
    ) -> Result<(), sqlx::Error> {
        let last = sqlx::query(AUDIT_LAST)
            .fetch_optional(&mut **transaction)
            .await?;
        let (seq, previous) = match &last {
            Some(row) => (unsigned(row, "seq") + 1, mac(row)),
            None => (1, [0; 32]),
        };
        let mut row = AuditRow {
            seq,
            act: act.clone(),
            action: action.to_owned(),
            object,
            mac: [0; 32],
        };
        row.mac = row.expected_mac(&self.audit_key, &previous);
        sqlx::query(AUDIT_INSERT)
            .bind(signed(row.seq))
            .bind(row.act.at.0)
            .bind(row.act.actor)
            .bind(row.action)
            .bind(row.object)
            .bind(row.act.request)
            .bind(row.mac.as_slice())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    pub(crate) async fn begin(
        &self,
        operation: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // With a statement of its own it can only be a transaction, never a savepoint in one that
        // was left open and whose commit would keep nothing.
        let begun = self.pool.begin_with(SqlStr::from_static("BEGIN IMMEDIATE"));
        begun.await.map_err(sql(operation))
    }
}

/// Whether a connection that was given back may be used again. On a full disk SQLite ends a
/// transaction by itself (<https://sqlite.org/lang_transaction.html>, "Response To Errors"); its
/// rollback then fails and the connection believes for ever that a transaction is under way.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Waits for a rollback that was left to the connection's thread.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

const OBJECTS: &str = "SELECT kind, name, document FROM object ORDER BY kind, name";
const OBJECT_PUT: &str = "INSERT INTO object (kind, name, document, changed_at) \
    VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (kind, name) DO UPDATE SET document = ?3, changed_at = ?4";
const OBJECT_REMOVE: &str = "DELETE FROM object WHERE kind = ?1 AND name = ?2";
const COUNTER_ADD: &str = "INSERT INTO counter (name, value) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET value = value + ?2 RETURNING value";
const AUDIT_LAST: &str = "SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1";
const AUDIT_INSERT: &str = "INSERT INTO audit (seq, at, actor, action, object, request, mac) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const AUDIT_BEFORE: &str = "SELECT seq, at, actor, action, object, request, mac FROM audit \
    WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
const AUDIT_AFTER: &str = "SELECT seq, at, actor, action, object, request, mac FROM audit \
    WHERE seq > ?1 ORDER BY seq LIMIT ?2";
const ROLLUP_FIND: &str = "SELECT route, minute, requests, errors, latency FROM rollup \
    WHERE route = ?1 AND minute >= ?2 ORDER BY minute LIMIT ?3";
const ROLLUP_PUT: &str = "INSERT INTO rollup (route, minute, requests, errors, latency) \
    VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (route, minute) DO UPDATE SET requests = ?3, errors = ?4, latency = ?5";
const ROLLUP_SUM_BY_MINUTE: &str = "SELECT '' AS route, minute, SUM(requests) AS requests, \
    SUM(errors) AS errors, JSON_GROUP_ARRAY(JSON(latency)) AS latency \
    FROM rollup WHERE minute >= ?1 GROUP BY minute ORDER BY minute";
const ROLLUP_SUM_BY_ROUTE: &str = "SELECT route, ?1 AS minute, SUM(requests) AS requests, \
    SUM(errors) AS errors, JSON_GROUP_ARRAY(JSON(latency)) AS latency \
    FROM rollup WHERE route IN (SELECT value FROM JSON_EACH(?2)) AND minute >= ?1 \
    GROUP BY route";
const ROLLUP_DROP: &str = "DELETE FROM rollup WHERE minute < ?1";

#[async_trait]
impl Store for SqliteStore {
    async fn load_objects(&self) -> Result<Objects, StoreError> {
        let rows = sqlx::query(OBJECTS)
            .fetch_all(&self.pool)
            .await
            .map_err(sql("load the node's objects"))?;
        let mut objects = Objects::default();
        for row in rows {
            let (kind, name, text): (&str, &str, &str) =
                (row.get("kind"), row.get("name"), row.get("document"));
            self.decode(&mut objects, kind, name, text)
                .map_err(|source| StoreError::Document {
                    kind: kind_word(kind),
                    name: name.to_owned(),
                    source,
                })?;
        }
        Ok(objects)
    }

    async fn save_change(&self, change: &Change, act: &Act) -> Result<(), StoreError> {
        const OPERATION: &str = "save a change of the node's objects";
        let (kind, name, document) = self.encode(change);
        let object = format!("{} {name}", kind_word(kind));
        let mut transaction = self.begin(OPERATION).await?;
        let (query, action) = match document {
            Some(document) => {
                let query = sqlx::query(OBJECT_PUT).bind(kind).bind(name);
                (query.bind(document).bind(act.at.0), "put")
            }
            None => (sqlx::query(OBJECT_REMOVE).bind(kind).bind(name), "remove"),
        };
        query
            .execute(&mut *transaction)
            .await
            .map_err(sql(OPERATION))?;
        self.append_audit(&mut transaction, act, action, object)
            .await
            .map_err(sql("append to the audit chain"))?;
        transaction.commit().await.map_err(sql(OPERATION))
    }

    async fn reserve_spec_versions(&self, count: u32) -> Result<u64, StoreError> {
        let row = sqlx::query(COUNTER_ADD)
            .bind(SPEC_VERSION)
            .bind(i64::from(count))
            .fetch_one(&self.pool)
            .await
            .map_err(sql("reserve versions of the gateway spec"))?;
        Ok(unsigned(&row, "value") - u64::from(count) + 1)
    }

    async fn find_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let rows = sqlx::query(AUDIT_BEFORE)
            .bind(before.map_or(i64::MAX, signed))
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(sql("read the audit chain"))?;
        Ok(rows.iter().map(audit_row).collect())
    }

    async fn verify_audit(&self) -> Result<Option<u64>, StoreError> {
        let (mut seq, mut previous) = (0, [0; 32]);
        loop {
            let rows = sqlx::query(AUDIT_AFTER)
                .bind(signed(seq))
                .bind(VERIFY_PAGE)
                .fetch_all(&self.pool)
                .await
                .map_err(sql("verify the audit chain"))?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in rows.iter().map(audit_row) {
                if row.seq != seq + 1 || row.mac != row.expected_mac(&self.audit_key, &previous) {
                    return Ok(Some(seq + 1));
                }
                (seq, previous) = (row.seq, row.mac);
            }
        }
    }

    async fn add_rollups(&self, rollups: &[Rollup]) -> Result<(), StoreError> {
        const OPERATION: &str = "add to the roll-ups";
        let mut transaction = self.begin(OPERATION).await?;
        for rollup in rollups {
            let stored = sqlx::query(ROLLUP_FIND)
                .bind(&rollup.route)
                .bind(rollup.minute)
                .bind(1)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(sql(OPERATION))?
                .map(|row| rollup_row(&row))
                .transpose()?
                .filter(|stored| stored.minute == rollup.minute);
            let sum = stored.map_or_else(|| rollup.clone(), |stored| sum(stored, rollup));
            sqlx::query(ROLLUP_PUT)
                .bind(sum.route)
                .bind(sum.minute)
                .bind(signed(sum.requests))
                .bind(signed(sum.errors))
                .bind(render(&sum.latency))
                .execute(&mut *transaction)
                .await
                .map_err(sql(OPERATION))?;
        }
        transaction.commit().await.map_err(sql(OPERATION))
    }

    async fn find_rollups(
        &self,
        route: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Rollup>, StoreError> {
        let rows = sqlx::query(ROLLUP_FIND)
            .bind(route)
            .bind(from)
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(sql("read the roll-ups"))?;
        rows.iter().map(rollup_row).collect()
    }

    async fn sum_rollups_by_minute(&self, from: i64) -> Result<Vec<Rollup>, StoreError> {
        let rows = sqlx::query(ROLLUP_SUM_BY_MINUTE)
            .bind(from)
            .fetch_all(&self.pool)
            .await
            .map_err(sql("sum the roll-ups by minute"))?;
        rows.iter().map(rollup_sum_row).collect()
    }

    async fn sum_rollups_by_route(
        &self,
        routes: &[String],
        from: i64,
    ) -> Result<Vec<Rollup>, StoreError> {
        let rows = sqlx::query(ROLLUP_SUM_BY_ROUTE)
            .bind(from)
            .bind(render(&routes))
            .fetch_all(&self.pool)
            .await
            .map_err(sql("sum the roll-ups by route"))?;
        rows.iter().map(rollup_sum_row).collect()
    }

    async fn find_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, StoreError> {
        self.list_calls(from, after, limit).await
    }

    fn ledger_health(&self) -> Option<LedgerHealth> {
        self.find_ledger_health()
    }

    async fn sum_calls(
        &self,
        from: Timestamp,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, StoreError> {
        Self::sum_calls(self, from, by).await
    }

    async fn drop_rollups(&self, before: i64) -> Result<(), StoreError> {
        sqlx::query(ROLLUP_DROP)
            .bind(before)
            .execute(&self.pool)
            .await
            .map_err(sql("drop old roll-ups"))?;
        Ok(())
    }
}

fn migrator() -> Migrator {
    let migration = |&(version, name, text): &(i64, &'static str, &'static str)| {
        let sql = SqlStr::from_static(text);
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sql,
            false,
        )
    };
    Migrator {
        migrations: MIGRATIONS.iter().map(migration).collect(),
        ..Migrator::DEFAULT
    }
}

/// Attaches what was being done to an error of SQL.
pub(crate) fn sql(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Sql { operation, source }
}

fn kind_word(kind: &str) -> &'static str {
    match kind {
        "service" => "service",
        "route" => "route",
        "consumer" => "consumer",
        "api_key" => "API key",
        "ai_vendor" => "AI vendor",
        "ai_model" => "AI model",
        _ => "object of an unknown kind",
    }
}

/// SQLite has signed integers only; no count here comes near their end.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(row: &SqliteRow, column: &str) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

/// A code of another length cannot match, as zeros cannot.
fn mac(row: &SqliteRow) -> [u8; 32] {
    row.get::<&[u8], _>("mac").try_into().unwrap_or([0; 32])
}

fn audit_row(row: &SqliteRow) -> AuditRow {
    AuditRow {
        seq: unsigned(row, "seq"),
        act: Act {
            at: Timestamp(row.get("at")),
            actor: row.get("actor"),
            request: row.get("request"),
        },
        action: row.get("action"),
        object: row.get("object"),
        mac: mac(row),
    }
}

fn rollup_row(row: &SqliteRow) -> Result<Rollup, StoreError> {
    let latency = latency_column(row)?;
    Ok(rollup_with(row, latency))
}

/// A row whose latency is the array of the summed rows' arrays.
fn rollup_sum_row(row: &SqliteRow) -> Result<Rollup, StoreError> {
    let parts: Vec<[u64; LATENCY_BUCKETS]> = latency_column(row)?;
    let mut latency = [0; LATENCY_BUCKETS];
    for part in parts {
        add_counts(&mut latency, part);
    }
    Ok(rollup_with(row, latency))
}

fn latency_column<T: serde::de::DeserializeOwned>(row: &SqliteRow) -> Result<T, StoreError> {
    parse(row.get("latency")).map_err(|source| StoreError::Document {
        kind: "roll-up",
        name: row.get("route"),
        source,
    })
}

fn rollup_with(row: &SqliteRow, latency: [u64; LATENCY_BUCKETS]) -> Rollup {
    Rollup {
        route: row.get("route"),
        minute: row.get("minute"),
        requests: unsigned(row, "requests"),
        errors: unsigned(row, "errors"),
        latency,
    }
}

fn sum(mut stored: Rollup, added: &Rollup) -> Rollup {
    stored.requests += added.requests;
    stored.errors += added.errors;
    add_counts(&mut stored.latency, added.latency);
    stored
}

fn add_counts(to: &mut [u64; LATENCY_BUCKETS], counts: [u64; LATENCY_BUCKETS]) {
    for (bucket, count) in to.iter_mut().zip(counts) {
        *bucket += count;
    }
}
