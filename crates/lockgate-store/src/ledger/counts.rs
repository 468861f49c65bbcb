//! Tokens and rates as rows of seven numbers, in the order in which they are stored.

use lockgate_model::ai::{Rates, Usage};

pub(crate) fn counts(usage: &Usage) -> [u64; 7] {
    [
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.input_audio,
        usage.output,
        usage.reasoning,
        usage.output_audio,
    ]
}

pub(crate) fn usage(counts: [u64; 7]) -> Usage {
    let [
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    ] = counts;
    Usage {
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    }
}

pub(crate) fn prices(rates: &Rates) -> [u64; 7] {
    [
        rates.input,
        rates.cache_read,
        rates.cache_write,
        rates.input_audio,
        rates.output,
        rates.reasoning,
        rates.output_audio,
    ]
}

pub(crate) fn rates(prices: [u64; 7]) -> Rates {
    let [
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    ] = prices;
    Rates {
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    }
}
