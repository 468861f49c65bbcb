//! Every diagnostic code, by area. Codes are stable and never reused.
//!
//! `LG01xx` files and settings · `02` programs and engine · `03` images and gates ·
//! `04` services · `05` gateway · `06` AI · `07` store and control · `09` bugs.

use crate::Code;

/// A code with its title and the page that `lockgate explain` prints.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code.
    pub code: Code,
    /// One line.
    pub title: &'static str,
    /// What causes it and what to do, a few sentences.
    pub page: &'static str,
}

/// Declares the codes of an area: a constant each, and the table that `explain` reads.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $title:literal, $page:literal;)*) => {
        $(#[doc = $title] pub const $name: crate::Code = crate::Code($code);)*
        /// The codes of this area.
        pub const TABLE: &[super::CodeInfo] =
            &[$(super::CodeInfo { code: $name, title: $title, page: $page }),*];
    };
}

pub mod ai;
pub mod gateway;
pub mod image;
pub mod program;
pub mod service;
pub mod settings;
pub mod state;
pub mod store;

/// The tables of all areas.
pub const ALL: &[&[CodeInfo]] = &[
    settings::TABLE,
    program::TABLE,
    image::TABLE,
    service::TABLE,
    gateway::TABLE,
    ai::TABLE,
    store::TABLE,
    state::TABLE,
];

/// The page of a code, found without regard to case; `None` when there is no such code.
pub fn find(code: &str) -> Option<&'static CodeInfo> {
    ALL.iter()
        .flat_map(|table| table.iter())
        .find(|i| i.code.as_str().eq_ignore_ascii_case(code))
}

/// A code by its text, for tests and for reading stored diagnostics.
pub fn find_code(code: &str) -> Option<Code> {
    find(code).map(|info| info.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_their_area() {
        let mut seen = std::collections::BTreeSet::new();
        for (table, area) in ALL.iter().zip([
            "LG01", "LG02", "LG03", "LG04", "LG05", "LG06", "LG07", "LG07",
        ]) {
            for info in *table {
                assert!(
                    info.code.as_str().starts_with(area),
                    "{} in area {area}",
                    info.code
                );
                assert!(seen.insert(info.code), "{} twice", info.code);
                assert!(!info.page.is_empty());
            }
        }
    }
}
