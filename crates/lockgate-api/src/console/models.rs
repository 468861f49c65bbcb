//! AI usage by model: calls of the ledger in, one row per model and vendor out. Pure.

use std::collections::BTreeMap;

use lockgate_model::ai::{CallRow, CallStatus, Cost};

use super::figures::count_text;

/// Which calls are counted together. Amounts of two currencies cannot be added.
type Key<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// Calls of one model by one vendor.
#[derive(Default)]
pub(super) struct ModelSum<'a> {
    key: Key<'a>,
    calls: u64,
    failed: u64,
    input: u64,
    output: u64,
    cost_pico: u128,
    /// Some vendor did not tell its tokens.
    estimated: bool,
}

/// Sums of `calls`, most calls first.
pub(super) fn sum_by_model(calls: &[CallRow]) -> Vec<ModelSum<'_>> {
    let mut sums: BTreeMap<Key<'_>, ModelSum<'_>> = BTreeMap::new();
    for call in calls {
        let start = &call.start;
        let currency = start.price.as_ref().map(|price| &*price.currency);
        let key = (
            &*start.alias,
            &*start.vendor,
            &*start.vendor_model,
            currency,
        );
        let sum = sums.entry(key).or_insert_with(|| ModelSum {
            key,
            ..ModelSum::default()
        });
        sum.calls += 1;
        sum.failed += u64::from(has_failed(call.status));
        sum.input = sum.input.saturating_add(call.usage.total_input());
        sum.output = sum.output.saturating_add(call.usage.total_output());
        sum.cost_pico = sum.cost_pico.saturating_add(call.cost.pico());
        sum.estimated |= call.estimated;
    }
    let mut sums: Vec<_> = sums.into_values().collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.calls));
    sums
}

/// A client that leaves is not the vendor's failure, and neither is our own end.
fn has_failed(status: CallStatus) -> bool {
    match status {
        CallStatus::VendorError | CallStatus::Cut | CallStatus::Timeout => true,
        CallStatus::Open | CallStatus::Ok | CallStatus::ClientCancelled | CallStatus::Recovered => {
            false
        }
    }
}

/// One model of a vendor, in words.
pub(super) struct ModelRow {
    pub(super) alias: String,
    pub(super) vendor: String,
    pub(super) vendor_model: String,
    pub(super) calls: String,
    pub(super) failed: String,
    pub(super) has_failed: bool,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) cost: String,
}

impl From<&ModelSum<'_>> for ModelRow {
    fn from(sum: &ModelSum<'_>) -> Self {
        let (alias, vendor, vendor_model, currency) = sum.key;
        let about = if sum.estimated { "≈ " } else { "" };
        let tokens = |count| format!("{about}{}", count_text(count));
        Self {
            alias: alias.to_owned(),
            vendor: vendor.to_owned(),
            vendor_model: vendor_model.to_owned(),
            calls: count_text(sum.calls),
            failed: count_text(sum.failed),
            has_failed: sum.failed > 0,
            input: tokens(sum.input),
            output: tokens(sum.output),
            cost: currency.map_or_else(
                || "no price".into(),
                |currency| format!("{about}{} {currency}", cost_text(sum.cost_pico)),
            ),
        }
    }
}

/// An amount in whole units with six decimals; what is less than the last one says so.
fn cost_text(pico: u128) -> String {
    const MICROS: u64 = 1_000_000;
    let micros = Cost::from_pico(pico).micros;
    if micros == 0 && pico > 0 {
        return "< 0.000001".into();
    }
    format!("{}.{:06}", count_text(micros / MICROS), micros % MICROS)
}

#[cfg(test)]
mod tests;
