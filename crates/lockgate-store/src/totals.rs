//! Sums over the calls to AI vendors, made by the database: a report reads no rows.

use std::fmt::Write as _;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallGroup, CallTotal, Cost};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::sqlite::{sql, unsigned};
use crate::{SqliteStore, StoreError};

/// Most sums in one answer.
const TOTALS_MAX: u32 = 10_000;

/// The expression of a group. Only these, and no text of a caller, become part of a statement.
const fn column(group: CallGroup) -> &'static str {
    match group {
        CallGroup::Model => "alias",
        CallGroup::Vendor => "vendor",
        CallGroup::VendorModel => "vendor_model",
        CallGroup::Consumer => "consumer",
        CallGroup::ApiKey => "api_key",
        CallGroup::Route => "route",
        CallGroup::Operation => "operation",
        CallGroup::Status => "status",
        CallGroup::Day => "date(at / 1000000000, 'unixepoch')",
    }
}

fn statement(by: &[CallGroup]) -> String {
    let mut columns = String::new();
    for (index, group) in by.iter().enumerate() {
        let _ = write!(columns, "{} AS g{index}, ", column(*group));
    }
    let names: String = (0..by.len()).map(|index| format!("g{index}, ")).collect();
    format!(
        "SELECT {columns}currency, count(*) AS calls, sum(status = 'open') AS open, \
         sum(status IN ('vendor_error', 'cut', 'timeout')) AS failed, \
         sum(estimated) AS estimated, sum(input_tokens) AS input, \
         sum(json_extract(usage, '$[1]')) AS cache_read, sum(output_tokens) AS output, \
         sum(cost_micros) AS micros, sum(cost_rest_pico) AS rest_pico \
         FROM ai_call JOIN ai_terms ON id = terms WHERE at >= ?1 GROUP BY {names}currency \
         ORDER BY calls DESC, {names}currency LIMIT ?2"
    )
}

impl SqliteStore {
    pub(crate) async fn sum_calls(
        &self,
        from: Timestamp,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, StoreError> {
        self.apply_for_question().await;
        let rows = sqlx::query(AssertSqlSafe(statement(by)))
            .bind(from.0)
            .bind(TOTALS_MAX)
            .fetch_all(&self.pool)
            .await
            .map_err(sql("add up calls to AI vendors"))?;
        Ok(rows.iter().map(|row| total(row, by.len())).collect())
    }
}

fn total(row: &SqliteRow, groups: usize) -> CallTotal {
    let text = |at: usize| row.get::<Option<&str>, _>(at).map(Arc::<str>::from);
    let pico = u128::from(unsigned(row, "micros")) * Cost::PICO_PER_MICRO
        + u128::from(unsigned(row, "rest_pico"));
    CallTotal {
        group: (0..groups).map(text).collect(),
        currency: text(groups),
        calls: unsigned(row, "calls"),
        open: unsigned(row, "open"),
        failed: unsigned(row, "failed"),
        estimated: unsigned(row, "estimated"),
        input: unsigned(row, "input"),
        cache_read: unsigned(row, "cache_read"),
        output: unsigned(row, "output"),
        cost: Cost::from_pico(pico),
    }
}
