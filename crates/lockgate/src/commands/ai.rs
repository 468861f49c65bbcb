//! `lockgate ai …`.

use std::collections::BTreeMap;

use lockgate_api::wire::{CallView, UsageView};
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::ai::{Cost, Usage};

use crate::cli::Ai;
use crate::failure::CommandError;
use crate::node::connect::{self, client_error};
use crate::workspace::App;

/// Runs an AI command.
pub(crate) async fn run(app: &App, command: &Ai) -> Result<(), CommandError> {
    let Ai::Usage { minutes, limit } = command;
    let client = connect::need(&app.environment).await?;
    let usage = client
        .ai_usage(*minutes, *limit)
        .await
        .map_err(|e| client_error(&e))?;
    let warnings = warnings(&usage);
    if !warnings.is_empty() {
        app.printer.diagnostics(&warnings);
    }
    if app.printer.json() {
        let document = serde_json::to_value(&usage).map_err(std::io::Error::other)?;
        return Ok(app.printer.json_document(&document)?);
    }
    print(app, &usage)
}

/// Why there may be more calls than are shown.
fn warnings(usage: &UsageView) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if usage.damaged_files > 0 {
        found.push(
            Diagnostic::warning(
                codes::ai::LEDGER_DAMAGED,
                format!(
                    "calls may be missing: {} damaged files of the ledger are kept aside",
                    usage.damaged_files
                ),
            )
            .hint("the node's log names file and offset; remove `*.damaged` in the ledger's folder once it is dealt with"),
        );
    }
    if usage.behind {
        found.push(
            Diagnostic::warning(
                codes::ai::LEDGER_BEHIND,
                "the newest calls are missing: the node's database takes no entries of the ledger",
            )
            .hint("the node's log says why; a full disk is the usual reason"),
        );
    }
    found
}

/// Calls of one model at one vendor, added up.
#[derive(Default)]
struct Sum {
    calls: u64,
    not_ok: u64,
    estimated: u64,
    input: u64,
    output: u64,
    pico: u128,
    currency: Option<String>,
}

impl Sum {
    fn add(&mut self, call: &CallView) {
        let usage = Usage::from(call.usage);
        self.calls += 1;
        self.not_ok += u64::from(call.status != "ok");
        self.estimated += u64::from(call.estimated);
        self.input += usage.total_input();
        self.output += usage.total_output();
        let cost = Cost {
            micros: call.cost_micros,
            rest_pico: call.cost_rest_pico,
        };
        self.pico += cost.pico();
        self.currency.clone_from(&call.currency);
    }
}

fn print(app: &App, usage: &UsageView) -> Result<(), CommandError> {
    if usage.calls.is_empty() {
        app.printer.say("no calls to AI vendors");
        return Ok(());
    }
    let mut sums: BTreeMap<[&str; 4], Sum> = BTreeMap::new();
    for call in &usage.calls {
        let currency = call.currency.as_deref().unwrap_or("–");
        let key = [&call.alias, &call.vendor, &call.vendor_model, currency];
        sums.entry(key).or_default().add(call);
    }
    let row = |cells: [&str; 8]| {
        let [model, vendor, calls, bad, guessed, input, output, cost] = cells;
        format!(
            "{model:<20} {vendor:<32} {calls:>7} {bad:>6} {guessed:>9} {input:>12} {output:>12}  {cost}"
        )
    };
    let head = [
        "MODEL",
        "VENDOR",
        "CALLS",
        "NOT OK",
        "ESTIMATED",
        "INPUT",
        "OUTPUT",
        "COST",
    ];
    app.printer.line(&row(head))?;
    for ([alias, vendor, model, currency], sum) in &sums {
        let cost = match &sum.currency {
            Some(_) => format!("{} {currency}", amount(sum.pico)),
            None => "no price".to_owned(),
        };
        app.printer.line(&row([
            alias,
            &format!("{vendor} {model}"),
            &sum.calls.to_string(),
            &sum.not_ok.to_string(),
            &sum.estimated.to_string(),
            &sum.input.to_string(),
            &sum.output.to_string(),
            &cost,
        ]))?;
    }
    if usage.more {
        let limit = usage.calls.len();
        app.printer.say(&format!(
            "only the newest {limit} calls are counted; raise `--limit` or lower `--minutes`"
        ));
    }
    Ok(())
}

/// Pico-units as units of the currency, exactly, with at least two decimals.
fn amount(pico: u128) -> String {
    const PICO: u128 = 1_000_000_000_000;
    let digits = format!("{:012}", pico % PICO);
    let kept = digits.trim_end_matches('0').len().max(2);
    format!("{}.{}", pico / PICO, &digits[..kept])
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_exact() {
        for (pico, expected) in [
            (0, "0.00"),
            (1, "0.000000000001"),
            (1_500_000_000_000, "1.50"),
            (12_345_678_000_000_000, "12345.678"),
        ] {
            assert_eq!(amount(pico), expected);
        }
    }
}
