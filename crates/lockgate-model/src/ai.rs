//! AI vendors, models and the ledger of their calls, as every part of a node sees them.
//!
//! Money is whole numbers only: a rate is pico-units of the currency (10⁻¹²) per token, a cost is
//! micro-units and the pico-units that are left.

mod total;

use std::sync::Arc;

use lockgate_diag::Secret;

use crate::time::Timestamp;
use crate::tls::TlsSettings;
use crate::url::Origin;

pub use total::{CallGroup, CallTotal};

/// What stacks want of the AI gateway.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AiSpec {
    /// Vendors; names are unique.
    pub vendors: Vec<VendorSpec>,
    /// Models; names are unique.
    pub models: Vec<ModelSpec>,
}

/// Whoever runs models, behind an OpenAI-compatible API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorSpec {
    /// Stable name, `project/stack/name`.
    pub name: String,
    /// Where its API is.
    pub base_url: BaseUrl,
    /// How its server is known; the default unless the URL is one of `https`.
    pub tls: TlsSettings,
    /// What it is called with, as a bearer; `None` sends none.
    pub key: Option<Secret<String>>,
    /// Text of its price file; empty when it has none.
    pub prices: String,
}

impl VendorSpec {
    /// Name of its upstream.
    pub fn upstream_name(&self) -> String {
        format!("{}{}", self.base_url.origin, self.tls.suffix())
    }
}

/// The base URL of an API, such as `https://api.openai.com/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Its server.
    pub origin: Origin,
    /// Path without a final slash; empty for none.
    pub path: String,
}

impl BaseUrl {
    /// Parses `http[s]://host[:port][/path]`; the error completes "the base URL …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (origin, path) = Origin::parse_start(text)?;
        let path = path.trim_end_matches('/');
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.bytes().all(fine) || path.contains("//") || path.contains("/.") {
            return Err("has a path that is not plain");
        }
        Ok(Self {
            origin,
            path: path.to_owned(),
        })
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// A name that clients ask for, and who answers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Stable name, `project/stack/name`.
    pub name: String,
    /// What clients send as `model`.
    pub alias: String,
    /// Where calls go, by weight. Never empty.
    pub lanes: Vec<LaneSpec>,
}

/// One vendor model behind an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpec {
    /// Name of a [`VendorSpec`].
    pub vendor: String,
    /// What the vendor calls the model.
    pub vendor_model: String,
    /// Share of the calls relative to the other lanes.
    pub weight: u32,
}

/// Makes a route an AI route: it answers the paths of the OpenAI API for these models.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AiPolicy {
    /// Names of [`ModelSpec`]s; their aliases differ.
    pub models: Vec<String>,
}

/// Tokens of one call, as disjoint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Text read afresh.
    pub input: u64,
    /// Read from the vendor's prompt cache.
    pub cache_read: u64,
    /// Written to the vendor's prompt cache.
    pub cache_write: u64,
    /// Audio read.
    pub input_audio: u64,
    /// Text written.
    pub output: u64,
    /// Written while reasoning.
    pub reasoning: u64,
    /// Audio written.
    pub output_audio: u64,
}

impl Usage {
    /// Everything read.
    pub fn total_input(&self) -> u64 {
        [
            self.input,
            self.cache_read,
            self.cache_write,
            self.input_audio,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Everything written.
    pub fn total_output(&self) -> u64 {
        [self.output, self.reasoning, self.output_audio]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Prices per token, in pico-units of the currency; one per count of [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rates {
    /// For [`Usage::input`].
    pub input: u64,
    /// For [`Usage::cache_read`].
    pub cache_read: u64,
    /// For [`Usage::cache_write`].
    pub cache_write: u64,
    /// For [`Usage::input_audio`].
    pub input_audio: u64,
    /// For [`Usage::output`].
    pub output: u64,
    /// For [`Usage::reasoning`].
    pub reasoning: u64,
    /// For [`Usage::output_audio`].
    pub output_audio: u64,
}

/// An exact amount: `micros` + `rest_pico` / 10⁶, in micro-units of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Cost {
    /// Whole micro-units.
    pub micros: u64,
    /// Pico-units that make no whole micro-unit, 0 to 999,999.
    pub rest_pico: u32,
}

impl Cost {
    /// Pico-units of a micro-unit.
    pub const PICO_PER_MICRO: u128 = 1_000_000;

    /// From pico-units; an amount that no vendor could bill stays at the largest one.
    pub fn from_pico(pico: u128) -> Self {
        u64::try_from(pico / Self::PICO_PER_MICRO).map_or(
            Self {
                micros: u64::MAX,
                rest_pico: 0,
            },
            |micros| Self {
                micros,
                rest_pico: u32::try_from(pico % Self::PICO_PER_MICRO).unwrap_or(0),
            },
        )
    }

    /// In pico-units.
    pub fn pico(self) -> u128 {
        u128::from(self.micros) * Self::PICO_PER_MICRO + u128::from(self.rest_pico)
    }
}

impl Rates {
    /// What `usage` costs, exactly.
    pub fn cost(&self, usage: &Usage) -> Cost {
        let lines = [
            (usage.input, self.input),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
            (usage.input_audio, self.input_audio),
            (usage.output, self.output),
            (usage.reasoning, self.reasoning),
            (usage.output_audio, self.output_audio),
        ];
        let pico = lines.into_iter().fold(0_u128, |sum, (tokens, rate)| {
            sum.saturating_add(u128::from(tokens) * u128::from(rate))
        });
        Cost::from_pico(pico)
    }
}

/// What a call is priced by, fixed when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    /// Content hash of the price file, 16 hex digits.
    pub version: Arc<str>,
    /// ISO 4217 code.
    pub currency: Arc<str>,
    /// Prices per token.
    pub rates: Rates,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/embeddings`.
    Embeddings,
}

/// How a call ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStatus {
    /// Under way.
    Open,
    /// The vendor's answer was complete.
    Ok,
    /// The vendor refused, failed, or could not be reached.
    VendorError,
    /// The client left first.
    ClientCancelled,
    /// The answer ended before its end.
    Cut,
    /// The vendor was too slow.
    Timeout,
    /// The node died during the call; what it had seen stands.
    Recovered,
}

/// Texts of a closed set of values, both ways.
macro_rules! words {
    ($kind:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $kind {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value of a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words!(Operation {
    Chat = "chat",
    Embeddings = "embeddings",
});
words!(CallStatus {
    Open = "open",
    Ok = "ok",
    VendorError = "vendor_error",
    ClientCancelled = "client_cancelled",
    Cut = "cut",
    Timeout = "timeout",
    Recovered = "recovered",
});

/// Names one call to a vendor: a try of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    /// Our id of the client's request.
    pub request: Arc<str>,
    /// The try, from 1.
    pub attempt: u32,
}

/// What many calls have in common: who asks whom for what, at which price. Made once for all of
/// them, so that a call costs no copies of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallTerms {
    /// Route.
    pub route: Arc<str>,
    /// Who asked, if the route knows callers.
    pub consumer: Option<Arc<str>>,
    /// Public id of the API key.
    pub api_key: Option<Arc<str>>,
    /// Model as the client named it.
    pub alias: Arc<str>,
    /// Vendor.
    pub vendor: Arc<str>,
    /// Model as the vendor names it.
    pub vendor_model: Arc<str>,
    /// What is done.
    pub operation: Operation,
    /// What it is priced by; `None` when no price is known.
    pub price: Option<Price>,
}

/// What is known when a call starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStart {
    /// When the request was admitted.
    pub at: Timestamp,
    /// What it has in common with others.
    pub terms: Arc<CallTerms>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Tokens of the request, estimated; stands when the vendor never tells.
    pub input_estimate: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub status: CallStatus,
    /// Status of the vendor's answer, if there was one.
    pub http_status: Option<u16>,
    /// Tokens.
    pub usage: Usage,
    /// The vendor did not tell the tokens.
    pub estimated: bool,
}

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEntry {
    /// Written before the first byte to the vendor.
    Started(CallId, CallStart),
    /// Tokens written so far; written before they are passed on.
    Progress(CallId, u64),
    /// Written before the client sees the end.
    Settled(CallId, CallEnd),
}

/// The ledger's file could not take an entry.
#[derive(Debug, thiserror::Error)]
#[error("the ledger could not be written")]
pub struct LedgerError(#[source] pub std::io::Error);

/// Keeps entries. What was appended survives the death of this process.
pub trait Ledger: Send + Sync {
    /// Appends one entry; returns once it is safe. [`LedgerEntry::Started`] is refused while there
    /// is room for the ends of the calls under way only.
    fn append(&self, entry: &LedgerEntry) -> Result<(), LedgerError>;
}

/// A place in the list of calls, newest first: what follows is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPlace {
    /// When the call at this place was admitted.
    pub at: Timestamp,
    /// Which call it is.
    pub id: CallId,
}

/// How a ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LedgerHealth {
    /// There is no room for another entry: calls are refused.
    pub full: bool,
    /// Calls refused since the node started, because there was no room.
    pub refused: u64,
    /// Files on disk, the one that is written included.
    pub segments: u64,
    /// Files with damage: calls may be missing.
    pub damaged: u64,
    /// The database does not take entries: it knows less than the files.
    pub behind: bool,
}

/// A call as the ledger has it: one row per call to a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// Which call.
    pub id: CallId,
    /// What it was.
    pub start: CallStart,
    /// When it ended, `None` while it is under way.
    pub ended_at: Option<Timestamp>,
    /// How.
    pub status: CallStatus,
    /// Status of the vendor's answer.
    pub http_status: Option<u16>,
    /// Tokens.
    pub usage: Usage,
    /// The vendor did not tell the tokens.
    pub estimated: bool,
    /// Cost in the currency of its price; zero without one.
    pub cost: Cost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_far_below_a_micro_unit() {
        let rates = Rates {
            input: 150_000,
            output: 600_001,
            ..Rates::default()
        };
        let usage = Usage {
            input: 7,
            output: 3,
            ..Usage::default()
        };
        let cost = rates.cost(&usage);
        assert_eq!((cost.micros, cost.rest_pico), (2, 850_003));
        assert_eq!(Cost::from_pico(cost.pico()), cost);
        let huge = Usage {
            input: u64::MAX,
            ..Usage::default()
        };
        let dear = Rates {
            input: u64::MAX,
            ..Rates::default()
        };
        assert_eq!(dear.cost(&huge).micros, u64::MAX);
    }

    #[test]
    fn base_urls_are_plain_or_refused() {
        for (text, expected) in [
            ("http://Example.org", "http://example.org:80"),
            ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
            ("http://[::1]:9/a/b", "http://[::1]:9/a/b"),
            ("http://[::1]/v1", "http://[::1]:80/v1"),
            ("https://Example.org/v1", "https://example.org:443/v1"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "https://",
            "http://",
            "http://a:0",
            "http://user@a",
            "http://a/b?c",
            "http://a/../b",
            "http://a//b",
            "ftp://a",
            "http://a/b\r\nx: y",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }
}
