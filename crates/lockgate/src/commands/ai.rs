//! `lockgate ai …`: reports of the node's ledger of AI calls.

use std::collections::BTreeMap;

use lockgate_api::wire::{CallView, TotalView, TotalsView, UsageView};
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::ai::{CallGroup, Cost, Usage};

use crate::cli::Ai;
use crate::failure::CommandError;
use crate::node::connect::{self, client_error};
use crate::workspace::App;

/// Longest time that a report covers: what the node's API takes.
const DAYS_MAX: u32 = 366;
const MINUTES_PER_HOUR: u32 = 60;
const MINUTES_PER_DAY: u32 = 24 * MINUTES_PER_HOUR;

/// How far back a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minutes(pub(crate) u32);

/// Reads `90m`, `24h` or `7d`.
pub(crate) fn parse_since(text: &str) -> Result<Minutes, String> {
    let wrong = || format!("expected a time such as `90m`, `24h` or `7d`, up to `{DAYS_MAX}d`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        'm' => 1,
        'h' => MINUTES_PER_HOUR,
        'd' => MINUTES_PER_DAY,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let minutes = number.checked_mul(factor).ok_or_else(wrong)?;
    if minutes == 0 || minutes > DAYS_MAX * MINUTES_PER_DAY {
        return Err(wrong());
    }
    Ok(Minutes(minutes))
}

/// Reads the name of a group.
pub(crate) fn parse_group(word: &str) -> Result<CallGroup, String> {
    CallGroup::parse(word).ok_or_else(|| {
        let known = CallGroup::ALL.map(CallGroup::as_str).join("`, `");
        format!("expected one of `{known}`")
    })
}

/// Runs an AI command.
pub(crate) async fn run(app: &App, command: &Ai) -> Result<(), CommandError> {
    let client = connect::need(&app.environment).await?;
    match command {
        Ai::Usage { since, by } => {
            let found = client.ai_totals(since.0, by).await;
            let totals = found.map_err(|e| client_error(&e))?;
            warn(app, totals.damaged_files, totals.behind);
            if app.printer.json() {
                return print_json(app, serde_json::to_value(&totals));
            }
            print_totals(app, &totals)
        }
        Ai::Calls { since, limit } => {
            let found = client.ai_usage(since.0, *limit).await;
            let usage = found.map_err(|e| client_error(&e))?;
            warn(app, usage.damaged_files, usage.behind);
            if app.printer.json() {
                return print_json(app, serde_json::to_value(&usage));
            }
            print_calls(app, &usage)
        }
    }
}

fn print_json(app: &App, view: serde_json::Result<serde_json::Value>) -> Result<(), CommandError> {
    let document = view.map_err(std::io::Error::other)?;
    Ok(app.printer.json_document(&document)?)
}

/// Says why there may be more calls than are shown.
fn warn(app: &App, damaged_files: u64, behind: bool) {
    let mut found = Vec::new();
    if damaged_files > 0 {
        let text = format!(
            "calls may be missing: {damaged_files} damaged files of the ledger are kept aside"
        );
        let hint = "the node's log names file and offset; remove `*.damaged` in the ledger's folder once it is dealt with";
        found.push(Diagnostic::warning(codes::ai::LEDGER_DAMAGED, text).hint(hint));
    }
    if behind {
        let text =
            "the newest calls are missing: the node's database takes no entries of the ledger";
        let hint = "the node's log says why; a full disk is the usual reason";
        found.push(Diagnostic::warning(codes::ai::LEDGER_BEHIND, text).hint(hint));
    }
    if !found.is_empty() {
        app.printer.diagnostics(&found);
    }
}

/// One line of a table: texts to the left, numbers to the right.
struct Cell {
    text: String,
    right: bool,
}

fn left(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        right: false,
    }
}

fn right(text: impl ToString) -> Cell {
    Cell {
        text: text.to_string(),
        right: true,
    }
}

/// Prints rows of the same length in columns as wide as their widest cell.
fn print_table(app: &App, rows: &[Vec<Cell>]) -> Result<(), CommandError> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(Cell { text, right }, width)| match right {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            })
            .collect();
        app.printer.line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn print_totals(app: &App, found: &TotalsView) -> Result<(), CommandError> {
    if found.totals.is_empty() {
        app.printer.say("no calls to AI vendors in this time");
        return Ok(());
    }
    let groups = found.by.iter().map(|word| left(word.to_uppercase()));
    let figures = ["CALLS", "FAILED", "ESTIMATED", "INPUT", "CACHED", "OUTPUT"];
    let mut rows: Vec<Vec<Cell>> = vec![
        groups
            .chain(figures.map(right))
            .chain([right("COST")])
            .collect(),
    ];
    let mut pico_by_currency: BTreeMap<&str, u128> = BTreeMap::new();
    for total in &found.totals {
        if let Some(currency) = &total.currency {
            *pico_by_currency.entry(currency).or_default() += pico(total);
        }
        let groups = total.group.iter();
        let groups = groups.map(|value| left(value.as_deref().unwrap_or("–")));
        let figures = [
            total.calls,
            total.failed,
            total.estimated,
            total.input,
            total.cache_read,
            total.output,
        ];
        let cost = price(pico(total), total.currency.as_deref());
        rows.push(
            groups
                .chain(figures.map(right))
                .chain([right(cost)])
                .collect(),
        );
    }
    print_table(app, &rows)?;
    if found.totals.len() > 1 {
        for (currency, pico) in pico_by_currency {
            app.printer
                .line(&format!("sum: {} {currency}", amount(pico)))?;
        }
    }
    Ok(())
}

fn pico(total: &TotalView) -> u128 {
    let cost = Cost {
        micros: total.cost_micros,
        rest_pico: total.cost_rest_pico,
    };
    cost.pico()
}

fn print_calls(app: &App, found: &UsageView) -> Result<(), CommandError> {
    if found.calls.is_empty() {
        app.printer.say("no calls to AI vendors in this time");
        return Ok(());
    }
    let texts = ["AT", "MODEL", "CONSUMER", "STATUS"];
    let figures = ["HTTP", "INPUT", "OUTPUT", "COST"];
    let mut rows: Vec<Vec<Cell>> = vec![
        texts
            .map(left)
            .into_iter()
            .chain(figures.map(right))
            .chain([left("REQUEST")])
            .collect(),
    ];
    rows.extend(found.calls.iter().map(call_cells));
    print_table(app, &rows)?;
    if found.more {
        app.printer
            .say("there are older calls in this time; `--limit` shows more");
    }
    Ok(())
}

fn call_cells(call: &CallView) -> Vec<Cell> {
    let usage = Usage::from(call.usage);
    let cost = Cost {
        micros: call.cost_micros,
        rest_pico: call.cost_rest_pico,
    };
    let about = if call.estimated { "≈ " } else { "" };
    let tokens = |count: u64| right(format!("{about}{count}"));
    let http = call.http_status;
    vec![
        left(&call.at),
        left(&call.alias),
        left(call.consumer.as_deref().unwrap_or("–")),
        left(&call.status),
        right(http.map_or_else(|| "–".to_owned(), |status| status.to_string())),
        tokens(usage.total_input()),
        tokens(usage.total_output()),
        right(price(cost.pico(), call.currency.as_deref())),
        left(match call.attempt {
            1 => call.request.clone(),
            attempt => format!("{} (try {attempt})", call.request),
        }),
    ]
}

fn price(pico: u128, currency: Option<&str>) -> String {
    currency.map_or_else(
        || "no price".to_owned(),
        |currency| format!("{} {currency}", amount(pico)),
    )
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
    use super::{Minutes, amount, parse_since};

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

    #[test]
    fn times_have_a_unit_and_a_bound() {
        for (text, minutes) in [
            ("90m", 90),
            ("24h", 1440),
            ("7d", 10_080),
            ("366d", 527_040),
        ] {
            assert_eq!(parse_since(text), Ok(Minutes(minutes)), "{text}");
        }
        for text in [
            "",
            "m",
            "0h",
            "367d",
            "99999999999h",
            "-1d",
            "1w",
            "24",
            "1 ü",
        ] {
            assert!(parse_since(text).is_err(), "{text}");
        }
    }
}
