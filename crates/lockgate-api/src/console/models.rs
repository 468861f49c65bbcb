//! AI usage by model: sums of the ledger in, words out. Pure.

use lockgate_model::ai::{CallGroup, CallTotal, Cost};

use super::figures::count_text;

/// What the page's calls are added up by.
pub(super) const BY_MODEL: [CallGroup; 3] =
    [CallGroup::Model, CallGroup::Vendor, CallGroup::VendorModel];

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

impl From<&CallTotal> for ModelRow {
    /// Of a sum by [`BY_MODEL`].
    fn from(total: &CallTotal) -> Self {
        let group = |at: usize| {
            let value = total.group.get(at).and_then(Option::as_deref);
            value.unwrap_or_default().to_owned()
        };
        let about = if total.estimated > 0 { "≈ " } else { "" };
        let tokens = |count| format!("{about}{}", count_text(count));
        Self {
            alias: group(0),
            vendor: group(1),
            vendor_model: group(2),
            calls: count_text(total.calls),
            failed: count_text(total.failed),
            has_failed: total.failed > 0,
            input: tokens(total.input),
            output: tokens(total.output),
            cost: total.currency.as_ref().map_or_else(
                || "no price".into(),
                |currency| format!("{about}{} {currency}", cost_text(total.cost)),
            ),
        }
    }
}

/// An amount in whole units with six decimals; what is less than the last one says so.
fn cost_text(cost: Cost) -> String {
    const MICROS: u64 = 1_000_000;
    if cost.micros == 0 && cost.rest_pico > 0 {
        return "< 0.000001".into();
    }
    let (units, micros) = (cost.micros / MICROS, cost.micros % MICROS);
    format!("{}.{micros:06}", count_text(units))
}

#[cfg(test)]
mod tests;
