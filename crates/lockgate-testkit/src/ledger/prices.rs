//! Prices read and multiplied a second time, by code that shares nothing with the product.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

/// Pico-units of the currency per token, by model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    models: BTreeMap<String, Rates>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    input: Option<u128>,
    cache_read: Option<u128>,
    output: Option<u128>,
}

impl Prices {
    /// Reads a price file that has one entry per model: lines `name = "text"` after `[[price]]`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut models = BTreeMap::new();
        for entry in text.split("[[price]]").skip(1) {
            let mut rates = Rates::default();
            let mut model = None;
            for line in entry.lines().filter(|line| !line.trim().is_empty()) {
                let (name, value) = line.split_once('=').with_context(|| line.to_owned())?;
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    "model" => model = Some(value.to_owned()),
                    "input" => rates.input = Some(per_token(value)?),
                    "cache_read" => rates.cache_read = Some(per_token(value)?),
                    "output" => rates.output = Some(per_token(value)?),
                    "valid_from" => {}
                    other => bail!("a rate that is not compared: {other}"),
                }
            }
            let model = model.context("a price without a model")?;
            ensure!(
                models.insert(model.clone(), rates).is_none(),
                "two prices of {model}"
            );
        }
        Ok(Self { models })
    }

    /// What a call to `model` costs in pico-units: `input` tokens read afresh, `cached` ones from
    /// a cache, `output` written. Cached tokens without a rate of their own cost what fresh ones
    /// do.
    pub fn cost(&self, model: &str, input: u64, cached: u64, output: u64) -> Option<u128> {
        let rates = self.models.get(model)?;
        let fresh = rates.input?;
        Some(
            u128::from(input) * fresh
                + u128::from(cached) * rates.cache_read.unwrap_or(fresh)
                + u128::from(output) * rates.output.unwrap_or(0),
        )
    }
}

/// Units per million tokens are micro-units per token, so six more decimals make pico-units.
fn per_token(text: &str) -> Result<u128> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    ensure!(rest.len() <= 6, "`{text}` is finer than a pico-unit");
    format!("{whole}{rest:0<6}")
        .parse()
        .with_context(|| format!("the price `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_whole_pico_units_per_token() -> Result<()> {
        let text = "currency = \"USD\"\n[[price]]\nmodel = \"m\"\nvalid_from = \"2026-01-01\"\ninput = \"0.15\"\ncache_read = \"0.075\"\noutput = \"2\"\n";
        let prices = Prices::parse(text)?;
        let cost = prices.cost("m", 10, 4, 3);
        assert_eq!(cost, Some(10 * 150_000 + 4 * 75_000 + 3 * 2_000_000));
        assert_eq!(prices.cost("other", 1, 1, 1), None);
        Ok(())
    }
}
