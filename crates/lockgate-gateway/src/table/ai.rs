//! Vendors and models as the table holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::Secret;
use lockgate_llm::PriceTable;

/// The models of an AI route, by alias.
#[derive(Debug)]
pub(crate) struct AiRoute {
    pub(crate) models: BTreeMap<Arc<str>, Arc<Model>>,
}

/// What answers to an alias.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) alias: Arc<str>,
    /// Lanes and the sum of weights up to each. Never empty.
    pub(crate) lanes: Vec<(Lane, u64)>,
}

/// One vendor model.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) vendor: Arc<Vendor>,
    pub(crate) vendor_model: Arc<str>,
}

/// Whoever runs models.
#[derive(Debug)]
pub(crate) struct Vendor {
    pub(crate) name: Arc<str>,
    /// Index of the upstream in the table.
    pub(crate) upstream: u32,
    /// Value of `host`.
    pub(crate) host: Box<str>,
    /// Before the path of an operation; without a final slash.
    pub(crate) path: Box<str>,
    pub(crate) key: Option<Secret<String>>,
    pub(crate) prices: PriceTable,
}

impl Model {
    /// The lane of the `turn`-th call.
    pub(crate) fn lane(&self, turn: u64) -> Option<&Lane> {
        let total = self.lanes.last().map(|(_, sum)| *sum)?;
        let at = turn % total.max(1);
        let found = self.lanes.iter().find(|(_, sum)| at < *sum);
        found.map(|(lane, _)| lane)
    }
}
