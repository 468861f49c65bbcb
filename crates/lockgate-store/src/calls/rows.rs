//! Rows of calls, and of what many calls have in common.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallId, CallRow, CallStart, CallStatus, CallTerms, Cost, Operation, Price,
};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _, Sqlite, Transaction};

use super::applier::{Applier, TermsIds};
use crate::document::{parse, render};
use crate::ledger::counts::{counts, prices, rates, usage};
use crate::sqlite::{signed, sql, unsigned};
use crate::{DocumentError, StoreError};

const CALL_FIND: &str = "SELECT * FROM ai_call JOIN ai_terms ON id = terms \
    WHERE request = ?1 AND attempt = ?2";
const TERMS_ADD: &str = "INSERT INTO ai_terms (route, consumer, api_key, alias, vendor, \
    vendor_model, operation, price_version, currency, rates) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
const TERMS_FIND: &str = "SELECT id FROM ai_terms WHERE route = ?1 AND alias = ?4 \
    AND vendor = ?5 AND vendor_model = ?6 AND operation = ?7 \
    AND IFNULL(consumer, char(0)) = IFNULL(?2, char(0)) \
    AND IFNULL(api_key, char(0)) = IFNULL(?3, char(0)) \
    AND IFNULL(price_version, char(0)) = IFNULL(?8, char(0)) \
    AND IFNULL(currency, char(0)) = IFNULL(?9, char(0)) \
    AND IFNULL(rates, char(0)) = IFNULL(?10, char(0))";

/// Rows that one statement writes: a statement costs a turn of the database's thread, so many, and
/// its text is parsed once, so always as many.
const ROWS: usize = 64;
const COLUMNS: usize = 15;

/// A settled row never changes, so writing it again changes nothing.
fn put_statement(rows: usize) -> String {
    // Without numbers: SQLite looks a parameter with a name up by going through all of them.
    let row = format!("({})", vec!["?"; COLUMNS].join(", "));
    format!(
        "INSERT INTO ai_call (request, attempt, at, ended_at, terms, stream, status, http_status, \
         input_estimate, usage, input_tokens, output_tokens, estimated, cost_micros, \
         cost_rest_pico) VALUES {} ON CONFLICT (request, attempt) DO UPDATE SET \
         ended_at = excluded.ended_at, status = excluded.status, \
         http_status = excluded.http_status, usage = excluded.usage, \
         input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, \
         estimated = excluded.estimated, cost_micros = excluded.cost_micros, \
         cost_rest_pico = excluded.cost_rest_pico WHERE status = 'open'",
        vec![row.as_str(); rows].join(", ")
    )
}

static PUT_ONE: LazyLock<String> = LazyLock::new(|| put_statement(1));
static PUT_MANY: LazyLock<String> = LazyLock::new(|| put_statement(ROWS));

/// The row of a call.
pub(super) async fn find(
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

/// Writes rows; those that are settled stay as they are. Gives the ids of terms that `applier`
/// does not know, which hold once the transaction does.
pub(super) async fn put(
    transaction: &mut Transaction<'static, Sqlite>,
    applier: &Applier,
    rows: &[CallRow],
) -> Result<TermsIds, StoreError> {
    const OPERATION: &str = "save calls to AI vendors";
    let mut found = TermsIds::new();
    // By address, because the rows of one segment share them.
    let mut ids: HashMap<usize, i64> = HashMap::new();
    for row in rows {
        let terms = &row.start.terms;
        if ids.contains_key(&address(terms)) {
            continue;
        }
        let known = found.iter().find(|(known, _)| known == terms);
        let id = match applier.terms_id(terms).or(known.map(|(_, id)| *id)) {
            Some(id) => id,
            None => {
                let id = terms_id(transaction, terms).await?;
                found.push((Arc::clone(terms), id));
                id
            }
        };
        ids.insert(address(terms), id);
    }
    let (many, rest) = rows.as_chunks::<ROWS>();
    let many = many.iter().map(|rows| (PUT_MANY.as_str(), rows.as_slice()));
    let rest = rest.chunks(1).map(|row| (PUT_ONE.as_str(), row));
    for (statement, rows) in many.chain(rest) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows.len() * COLUMNS, 0);
        for row in rows {
            let terms = ids.get(&address(&row.start.terms)).copied();
            bind(&mut arguments, row, terms).map_err(|e| sql(OPERATION)(sqlx::Error::Encode(e)))?;
        }
        sqlx::query_with(statement, arguments)
            .execute(&mut **transaction)
            .await
            .map_err(sql(OPERATION))?;
    }
    Ok(found)
}

/// Where terms lie in memory.
fn address(terms: &Arc<CallTerms>) -> usize {
    Arc::as_ptr(terms) as usize
}

fn bind(
    to: &mut SqliteArguments,
    row: &CallRow,
    terms: Option<i64>,
) -> Result<(), sqlx::error::BoxDynError> {
    let start = &row.start;
    to.add(Arc::clone(&row.id.request))?;
    to.add(row.id.attempt)?;
    to.add(start.at.0)?;
    to.add(row.ended_at.map(|at| at.0))?;
    to.add(terms)?;
    to.add(start.stream)?;
    to.add(row.status.as_str())?;
    to.add(row.http_status)?;
    to.add(signed(start.input_estimate))?;
    to.add(render(&counts(&row.usage)))?;
    to.add(signed(row.usage.total_input()))?;
    to.add(signed(row.usage.total_output()))?;
    to.add(row.estimated)?;
    to.add(signed(row.cost.micros))?;
    to.add(row.cost.rest_pico)
}

async fn terms_id(
    transaction: &mut Transaction<'static, Sqlite>,
    terms: &CallTerms,
) -> Result<i64, StoreError> {
    const OPERATION: &str = "save what calls to AI vendors have in common";
    let price = terms.price.as_ref();
    let rates = price.map(|price| render(&prices(&price.rates)));
    let bound = |statement: &'static str| {
        sqlx::query(statement)
            .bind(&*terms.route)
            .bind(terms.consumer.as_deref())
            .bind(terms.api_key.as_deref())
            .bind(&*terms.alias)
            .bind(&*terms.vendor)
            .bind(&*terms.vendor_model)
            .bind(terms.operation.as_str())
            .bind(price.map(|price| &*price.version))
            .bind(price.map(|price| &*price.currency))
            .bind(rates.as_deref())
    };
    bound(TERMS_ADD)
        .execute(&mut **transaction)
        .await
        .map_err(sql(OPERATION))?;
    let row = bound(TERMS_FIND)
        .fetch_one(&mut **transaction)
        .await
        .map_err(sql(OPERATION))?;
    Ok(row.get("id"))
}

/// A call with its terms.
pub(super) fn call_row(row: &SqliteRow) -> Result<CallRow, StoreError> {
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
    let terms = CallTerms {
        route: shared("route"),
        consumer: maybe("consumer"),
        api_key: maybe("api_key"),
        alias: shared("alias"),
        vendor: shared("vendor"),
        vendor_model: shared("vendor_model"),
        operation: operation.ok_or_else(|| damaged(DocumentError::Field("operation")))?,
        price,
    };
    Ok(CallRow {
        id: CallId {
            request: request.into(),
            attempt: row.get("attempt"),
        },
        start: CallStart {
            at: Timestamp(row.get("at")),
            terms: Arc::new(terms),
            stream: row.get("stream"),
            input_estimate: unsigned(row, "input_estimate"),
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
