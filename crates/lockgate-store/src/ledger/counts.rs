//! Tokens and rates as rows of seven numbers, in the order in which they are stored.

use lockgate_model::ai::{Rates, Usage};

/// Both ways between a kind with one field per count and its row.
macro_rules! rows {
    ($kind:ident: $to:ident, $from:ident) => {
        pub(crate) fn $to(it: &$kind) -> [u64; 7] {
            [
                it.input,
                it.cache_read,
                it.cache_write,
                it.input_audio,
                it.output,
                it.reasoning,
                it.output_audio,
            ]
        }

        pub(crate) fn $from(row: [u64; 7]) -> $kind {
            let [
                input,
                cache_read,
                cache_write,
                input_audio,
                output,
                reasoning,
                output_audio,
            ] = row;
            $kind {
                input,
                cache_read,
                cache_write,
                input_audio,
                output,
                reasoning,
                output_audio,
            }
        }
    };
}

rows!(Usage: counts, usage);
rows!(Rates: prices, rates);
