//! Price files: dated prices per model, as whole numbers.
//!
//! A file is TOML with prices as decimal text in units of the currency per million tokens:
//!
//! ```toml
//! currency = "USD"
//!
//! [[price]]
//! model = "small-1"
//! valid_from = "2026-11-01"
//! input = "0.15"
//! output = "0.60"
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{Price, Rates};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Largest price file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Decimals of a price per million tokens: a rate is a whole number of pico-units per token.
const DECIMALS: usize = 6;
/// Largest price per million tokens, in whole units.
const UNITS_MAX: u64 = 1_000_000;

/// Why a price file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Larger than any price file.
    #[error("the price file is larger than 1 MiB")]
    TooLarge,
    /// Not TOML, or with other fields.
    #[error("the price file has not the expected form")]
    Form(#[source] toml::de::Error),
    /// No currency code.
    #[error("the price file's currency `{0}` is not three capital letters")]
    Currency(String),
    /// No date.
    #[error("`{date}` in the price of `{model}` is no date, expected for example `2026-11-01`")]
    Date {
        /// Model.
        model: String,
        /// What stands there.
        date: String,
    },
    /// No price.
    #[error(
        "`{price}` in the price of `{model}` is no price, expected for example `0.15`, with at most 6 decimals"
    )]
    Price {
        /// Model.
        model: String,
        /// What stands there.
        price: String,
    },
    /// Two prices of one model from one day.
    #[error("`{model}` has two prices from `{date}`")]
    Twice {
        /// Model.
        model: String,
        /// Day.
        date: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    currency: String,
    #[serde(default)]
    price: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    valid_from: String,
    input: String,
    output: Option<String>,
    cache_read: Option<String>,
    cache_write: Option<String>,
    input_audio: Option<String>,
    reasoning: Option<String>,
    output_audio: Option<String>,
}

/// The prices of one vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    /// By model, then by the second from which a price holds.
    prices: BTreeMap<String, BTreeMap<i64, Price>>,
}

impl PriceTable {
    /// Reads a price file; an empty text has no prices.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(PriceError::TooLarge);
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let file: File = toml::from_str(text).map_err(PriceError::Form)?;
        let code = file.currency.as_bytes();
        if code.len() != 3 || !code.iter().all(u8::is_ascii_uppercase) {
            return Err(PriceError::Currency(file.currency));
        }
        let currency: Arc<str> = file.currency.into();
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        let version: Arc<str> = hash[..16].into();
        let mut prices: BTreeMap<String, BTreeMap<i64, Price>> = BTreeMap::new();
        for entry in file.price {
            let from = parse_date(&entry.valid_from).ok_or_else(|| PriceError::Date {
                model: entry.model.clone(),
                date: entry.valid_from.clone(),
            })?;
            let price = Price {
                version: Arc::clone(&version),
                currency: Arc::clone(&currency),
                rates: entry.rates()?,
            };
            let dated = prices.entry(entry.model.clone()).or_default();
            if dated.insert(from, price).is_some() {
                return Err(PriceError::Twice {
                    model: entry.model,
                    date: entry.valid_from,
                });
            }
        }
        Ok(Self { prices })
    }

    /// The price of `model` at `at`; `None` when there is none yet.
    pub fn find(&self, model: &str, at: Timestamp) -> Option<&Price> {
        let dated = self.prices.get(model)?;
        dated.range(..=at.as_secs()).next_back().map(|(_, p)| p)
    }
}

impl Entry {
    /// Prices that are not told: cache and audio as their side's text, reasoning as output.
    fn rates(&self) -> Result<Rates, PriceError> {
        let rate = |text: &str| {
            parse_rate(text).ok_or_else(|| PriceError::Price {
                model: self.model.clone(),
                price: text.to_owned(),
            })
        };
        let or = |text: &Option<String>, default: u64| text.as_deref().map_or(Ok(default), rate);
        let input = rate(&self.input)?;
        let output = or(&self.output, 0)?;
        Ok(Rates {
            input,
            cache_read: or(&self.cache_read, input)?,
            cache_write: or(&self.cache_write, input)?,
            input_audio: or(&self.input_audio, input)?,
            output,
            reasoning: or(&self.reasoning, output)?,
            output_audio: or(&self.output_audio, output)?,
        })
    }
}

/// Units per million tokens in decimal, as pico-units per token: the same number with six decimals.
fn parse_rate(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > DECIMALS {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|units| *units <= UNITS_MAX)?;
    let part: u64 = format!("{part:0<DECIMALS$}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(part)
}

/// The first second of a day in UTC, from `YYYY-MM-DD`.
fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let part = text.get(range)?;
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<i64>().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || year < 1970 {
        return None;
    }
    // Days of a year that begins in March, so that a leap day is its last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let since_era = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    Some((since_era - 719_468) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        currency = "USD"
        [[price]]
        model = "small"
        valid_from = "2026-01-01"
        input = "0.15"
        output = "0.6"
        [[price]]
        model = "small"
        valid_from = "2026-11-01"
        input = "0.1"
        cache_read = "0.000001"
        output = "2"
        reasoning = "3"
    "#;

    #[test]
    fn the_price_of_the_day_holds() {
        let table = PriceTable::parse(FILE).unwrap();
        let at = |text: &str| Timestamp::from_secs(parse_date(text).unwrap());
        let find = |day: &str| table.find("small", at(day)).map(|p| p.rates);
        assert_eq!(find("2025-12-31"), None);
        assert_eq!(
            find("2026-10-31").map(|r| (r.input, r.cache_read)),
            Some((150_000, 150_000))
        );
        let now = find("2026-11-01").unwrap();
        assert_eq!(
            (now.input, now.cache_read, now.output, now.reasoning),
            (100_000, 1, 2_000_000, 3_000_000)
        );
        assert_eq!(table.find("large", at("2026-11-01")), None);
        assert_ne!(
            PriceTable::parse(&FILE.replace("0.15", "0.16"))
                .unwrap()
                .find("small", at("2026-11-02"))
                .map(|p| p.version.clone()),
            table
                .find("small", at("2026-11-02"))
                .map(|p| p.version.clone())
        );
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-28", 20_785),
        ] {
            assert_eq!(parse_date(text), Some(day * 86_400), "{text}");
            assert!(
                Timestamp::from_secs(day * 86_400)
                    .to_string()
                    .starts_with(text)
            );
        }
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-01",
            "20261101xx",
            "2026-11-00",
            "1969-12-31",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn mistakes_name_their_place() {
        for (from, to, expected) in [
            ("\"0.15\"", "\"0.1500001\"", "no price"),
            ("\"0.15\"", "\"-1\"", "no price"),
            ("\"0.15\"", "\"1e3\"", "no price"),
            ("\"0.15\"", "0.15", "form"),
            ("\"USD\"", "\"usd\"", "currency"),
            ("2026-01-01", "2026-11-01", "two prices"),
            ("2026-01-01", "2026-01-32", "no date"),
            ("output =", "outptu =", "form"),
        ] {
            let error = PriceTable::parse(&FILE.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "{to}: {error}");
        }
        assert_eq!(PriceTable::parse(" \n").unwrap(), PriceTable::default());
    }
}
