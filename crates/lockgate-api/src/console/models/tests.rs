//! Sums by model become words, amounts stay exact.

use super::*;

fn total(currency: Option<&str>, estimated: u64, pico: u128) -> CallTotal {
    let value = |text: &str| Some(text.into());
    CallTotal {
        group: vec![value("large"), value("shop/dev/v"), value("m-1")],
        currency: currency.map(Into::into),
        calls: 3,
        open: 0,
        failed: 2,
        estimated,
        input: 3600,
        cache_read: 600,
        output: 102,
        cost: Cost::from_pico(pico),
    }
}

#[test]
fn amounts_are_exact_and_guesses_say_so() {
    let told = |total: CallTotal| {
        let row = ModelRow::from(&total);
        [row.calls, row.failed, row.input, row.output, row.cost]
    };
    for (total, expected) in [
        (
            total(Some("USD"), 0, 1_500_001_000_000),
            ["3", "2", "3,600", "102", "1.500001 USD"],
        ),
        (
            total(Some("EUR"), 0, 5),
            ["3", "2", "3,600", "102", "< 0.000001 EUR"],
        ),
        (
            total(Some("EUR"), 1, 2_000_000),
            ["3", "2", "≈ 3,600", "≈ 102", "≈ 0.000002 EUR"],
        ),
        (total(None, 0, 0), ["3", "2", "3,600", "102", "no price"]),
    ] {
        assert_eq!(told(total), expected);
    }
    let row = ModelRow::from(&total(None, 0, 0));
    assert_eq!(
        [row.alias, row.vendor, row.vendor_model],
        ["large", "shop/dev/v", "m-1"]
    );
}
