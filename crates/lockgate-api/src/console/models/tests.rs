//! Calls are summed by model, vendor and currency.

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallId, CallStart, Operation, Price, Rates, Usage};

use super::*;

fn call(alias: &str, currency: Option<&str>, status: CallStatus, pico: u128) -> CallRow {
    let price = currency.map(|currency| Price {
        version: "0".into(),
        currency: currency.into(),
        rates: Rates::default(),
    });
    CallRow {
        id: CallId {
            request: "r".into(),
            attempt: 1,
        },
        start: CallStart {
            at: Timestamp::from_secs(0),
            route: "shop/dev/ai".into(),
            consumer: None,
            api_key: None,
            alias: alias.into(),
            vendor: "shop/dev/v".into(),
            vendor_model: "m-1".into(),
            operation: Operation::Chat,
            stream: false,
            input_estimate: 0,
            price,
        },
        ended_at: None,
        status,
        http_status: None,
        usage: Usage {
            input: 1000,
            cache_read: 200,
            output: 30,
            reasoning: 4,
            ..Usage::default()
        },
        estimated: currency.is_none(),
        cost: Cost::from_pico(pico),
    }
}

#[test]
fn calls_are_summed_and_amounts_are_exact() {
    let calls = [
        call("small", None, CallStatus::ClientCancelled, 0),
        call("large", Some("USD"), CallStatus::Ok, 1_500_000_400_000),
        call("large", Some("USD"), CallStatus::VendorError, 600_000),
        call("large", Some("EUR"), CallStatus::Open, 5),
        call("large", Some("USD"), CallStatus::Timeout, 0),
    ];
    let rows: Vec<ModelRow> = sum_by_model(&calls).iter().map(ModelRow::from).collect();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let words = [
                &row.alias,
                &row.calls,
                &row.failed,
                &row.input,
                &row.output,
                &row.cost,
            ];
            words.map(String::as_str)
        })
        .collect();
    assert_eq!(
        told,
        [
            ["large", "3", "2", "3,600", "102", "1.500001 USD"],
            ["large", "1", "0", "1,200", "34", "< 0.000001 EUR"],
            ["small", "1", "0", "≈ 1,200", "≈ 34", "no price"],
        ]
    );
    assert_eq!(rows[0].vendor, "shop/dev/v");
    assert_eq!(rows[0].vendor_model, "m-1");
}
