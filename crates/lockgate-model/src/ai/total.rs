//! Sums over the ledger.

use std::sync::Arc;

use super::Cost;

/// What calls are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallGroup {
    /// Model as the client named it.
    Model,
    /// Vendor.
    Vendor,
    /// Model as the vendor names it.
    VendorModel,
    /// Consumer.
    Consumer,
    /// Public id of the API key.
    ApiKey,
    /// Route.
    Route,
    /// `chat` or `embeddings`.
    Operation,
    /// How the call ended.
    Status,
    /// Day in UTC, `2026-11-28`.
    Day,
}

impl CallGroup {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::Model,
        Self::Vendor,
        Self::VendorModel,
        Self::Consumer,
        Self::ApiKey,
        Self::Route,
        Self::Operation,
        Self::Status,
        Self::Day,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Vendor => "vendor",
            Self::VendorModel => "vendor-model",
            Self::Consumer => "consumer",
            Self::ApiKey => "key",
            Self::Route => "route",
            Self::Operation => "operation",
            Self::Status => "status",
            Self::Day => "day",
        }
    }

    /// The group of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == word)
    }
}

/// The sum of the calls of one group, in one currency: amounts of two cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallTotal {
    /// The group's values in the order asked for; `None` where a call has none.
    pub group: Vec<Option<Arc<str>>>,
    /// `None` for calls without a price.
    pub currency: Option<Arc<str>>,
    /// Calls.
    pub calls: u64,
    /// Calls that are still under way.
    pub open: u64,
    /// Calls that the vendor failed: refused, cut or too late.
    pub failed: u64,
    /// Calls whose tokens the vendor did not tell.
    pub estimated: u64,
    /// Tokens read, cached ones included.
    pub input: u64,
    /// Of these, read from the vendor's prompt cache.
    pub cache_read: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Cost.
    pub cost: Cost,
}
