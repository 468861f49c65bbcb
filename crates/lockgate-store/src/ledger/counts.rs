//! Tokens and rates as rows of seven numbers, in the order in which they are stored.

use lockgate_model::ai::{Rates, Usage};

/// Both ways between the kinds with one field per count and their rows, from the order of fields.
macro_rules! rows {
    ($($field:ident),*) => {
        pub(crate) fn counts(it: &Usage) -> [u64; 7] {
            [$(it.$field),*]
        }

        pub(crate) fn usage([$($field),*]: [u64; 7]) -> Usage {
            Usage { $($field),* }
        }

        pub(crate) fn prices(it: &Rates) -> [u64; 7] {
            [$(it.$field),*]
        }

        pub(crate) fn rates([$($field),*]: [u64; 7]) -> Rates {
            Rates { $($field),* }
        }
    };
}

rows!(
    input,
    cache_read,
    cache_write,
    input_audio,
    output,
    reasoning,
    output_audio
);
