//! AI vendors, models and calls on the wire.

use lockgate_diag::Secret;
use lockgate_model::ai::{BaseUrl, CallRow, CallTotal, LaneSpec, ModelSpec, Usage, VendorSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, TlsBody};

/// Whoever runs models. Its name is in the path.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VendorBody {
    /// Where its OpenAI-compatible API is, `http[s]://host[:port][/path]`.
    pub base_url: String,
    /// How its server is known, where the URL's host is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsBody>,
    /// Key that the node calls it with; never shown again.
    #[serde(default)]
    pub key: Option<String>,
    /// Text of its price file.
    #[serde(default)]
    pub prices: String,
}

impl VendorBody {
    /// The body of a call that applies `vendor`.
    pub fn of(vendor: &VendorSpec) -> Self {
        Self {
            base_url: vendor.base_url.to_string(),
            tls: TlsBody::of(&vendor.tls),
            key: vendor.key.as_ref().map(|key| key.expose().clone()),
            prices: vendor.prices.clone(),
        }
    }

    /// The spec under `name`.
    pub fn into_model(self, name: String) -> Result<VendorSpec, FieldError> {
        let base_url = BaseUrl::parse(&self.base_url)
            .map_err(|why| FieldError(format!("baseUrl: the base URL {why}")))?;
        Ok(VendorSpec {
            name,
            base_url,
            tls: TlsBody::into_model(self.tls)?,
            key: self.key.map(Secret::new),
            prices: self.prices,
        })
    }
}

/// A vendor as the node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VendorView {
    /// `project/stack/name`.
    pub name: String,
    /// Where its API is.
    pub base_url: String,
    /// How its server is known, where the URL's host is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsBody>,
    /// Whether the node has a key for it.
    pub has_key: bool,
    /// Text of its price file.
    pub prices: String,
}

impl From<&VendorSpec> for VendorView {
    fn from(vendor: &VendorSpec) -> Self {
        Self {
            name: vendor.name.clone(),
            base_url: vendor.base_url.to_string(),
            tls: TlsBody::of(&vendor.tls),
            has_key: vendor.key.is_some(),
            prices: vendor.prices.clone(),
        }
    }
}

/// A name that clients ask for. The object's name is in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelBody {
    /// What clients send as `model`.
    pub alias: String,
    /// Where calls go.
    pub lanes: Vec<LaneBody>,
}

/// One vendor model behind an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneBody {
    /// Vendor, `project/stack/name`.
    pub vendor: String,
    /// What the vendor calls the model.
    pub vendor_model: String,
    /// Share relative to the others.
    pub weight: u32,
}

impl From<&ModelSpec> for ModelBody {
    fn from(model: &ModelSpec) -> Self {
        let lane = |lane: &LaneSpec| LaneBody {
            vendor: lane.vendor.clone(),
            vendor_model: lane.vendor_model.clone(),
            weight: lane.weight,
        };
        Self {
            alias: model.alias.clone(),
            lanes: model.lanes.iter().map(lane).collect(),
        }
    }
}

impl ModelBody {
    /// The spec under `name`.
    pub fn into_model(self, name: String) -> ModelSpec {
        let lane = |lane: LaneBody| LaneSpec {
            vendor: lane.vendor,
            vendor_model: lane.vendor_model,
            weight: lane.weight,
        };
        ModelSpec {
            name,
            alias: self.alias,
            lanes: self.lanes.into_iter().map(lane).collect(),
        }
    }
}

/// A model as the node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelView {
    /// `project/stack/name`.
    pub name: String,
    /// What it is.
    pub model: ModelBody,
}

impl From<&ModelSpec> for ModelView {
    fn from(model: &ModelSpec) -> Self {
        Self {
            name: model.name.clone(),
            model: ModelBody::from(model),
        }
    }
}

/// Calls to AI vendors, added up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotalsView {
    /// What they are added up by, in the order asked for.
    pub by: Vec<String>,
    /// The sums, most calls first, up to 10,000.
    pub totals: Vec<TotalView>,
    /// Files of the ledger that are damaged: calls may be missing.
    pub damaged_files: u64,
    /// The database takes no entries of the ledger: the newest calls are missing.
    pub behind: bool,
}

/// The sum of the calls of one group, in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotalView {
    /// The group's values, one for each word of `by`; null where the calls have none.
    pub group: Vec<Option<String>>,
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
    /// Cost in whole micro-units of the currency.
    pub cost_micros: u64,
    /// What is left of the cost, in pico-units.
    pub cost_rest_pico: u32,
    /// Currency; absent when no price was known.
    pub currency: Option<String>,
}

impl From<&CallTotal> for TotalView {
    fn from(total: &CallTotal) -> Self {
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        Self {
            group: total.group.iter().map(text).collect(),
            calls: total.calls,
            open: total.open,
            failed: total.failed,
            estimated: total.estimated,
            input: total.input,
            cache_read: total.cache_read,
            output: total.output,
            cost_micros: total.cost.micros,
            cost_rest_pico: total.cost.rest_pico,
            currency: text(&total.currency),
        }
    }
}

/// Calls to AI vendors, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// The calls, one each.
    pub calls: Vec<CallView>,
    /// There are older calls in the time asked for.
    pub more: bool,
    /// Where the older calls begin, for `after`; absent when there are none.
    pub next: Option<String>,
    /// Files of the ledger that are damaged and kept aside: calls may be missing.
    #[serde(default)]
    pub damaged_files: u64,
    /// The database takes no entries at the moment: newer calls are missing.
    #[serde(default)]
    pub behind: bool,
}

/// One call to a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    /// Id of the client's request.
    pub request: String,
    /// Try, from 1.
    pub attempt: u32,
    /// When the request came.
    pub at: String,
    /// When the call ended; absent while it is under way.
    pub ended_at: Option<String>,
    /// Route.
    pub route: String,
    /// Consumer, if known.
    pub consumer: Option<String>,
    /// Public id of the API key, if known.
    pub api_key: Option<String>,
    /// Model as the client named it.
    pub alias: String,
    /// Vendor.
    pub vendor: String,
    /// Model as the vendor names it.
    pub vendor_model: String,
    /// `chat` or `embeddings`.
    pub operation: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// `open`, `ok`, `vendor_error`, `client_cancelled`, `cut`, `timeout` or `recovered`.
    pub status: String,
    /// Status of the vendor's answer.
    pub http_status: Option<u16>,
    /// Tokens, as disjoint counts.
    pub usage: TokensView,
    /// The vendor did not tell the tokens.
    pub estimated: bool,
    /// Cost in whole micro-units of the currency.
    pub cost_micros: u64,
    /// What is left of the cost, in pico-units.
    pub cost_rest_pico: u32,
    /// Currency; absent when no price was known.
    pub currency: Option<String>,
    /// Version of the price file; absent when no price was known.
    pub price_version: Option<String>,
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokensView {
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

impl From<Usage> for TokensView {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            input_audio: usage.input_audio,
            output: usage.output,
            reasoning: usage.reasoning,
            output_audio: usage.output_audio,
        }
    }
}

impl From<TokensView> for Usage {
    fn from(view: TokensView) -> Self {
        Self {
            input: view.input,
            cache_read: view.cache_read,
            cache_write: view.cache_write,
            input_audio: view.input_audio,
            output: view.output,
            reasoning: view.reasoning,
            output_audio: view.output_audio,
        }
    }
}

impl From<&CallRow> for CallView {
    fn from(row: &CallRow) -> Self {
        let start = &row.start;
        let terms = &start.terms;
        let price = terms.price.as_ref();
        Self {
            request: row.id.request.to_string(),
            attempt: row.id.attempt,
            at: start.at.to_string(),
            ended_at: row.ended_at.map(|at| at.to_string()),
            route: terms.route.to_string(),
            consumer: terms.consumer.as_deref().map(str::to_owned),
            api_key: terms.api_key.as_deref().map(str::to_owned),
            alias: terms.alias.to_string(),
            vendor: terms.vendor.to_string(),
            vendor_model: terms.vendor_model.to_string(),
            operation: terms.operation.as_str().to_owned(),
            stream: start.stream,
            status: row.status.as_str().to_owned(),
            http_status: row.http_status,
            usage: row.usage.into(),
            estimated: row.estimated,
            cost_micros: row.cost.micros,
            cost_rest_pico: row.cost.rest_pico,
            currency: price.map(|price| price.currency.to_string()),
            price_version: price.map(|price| price.version.to_string()),
        }
    }
}
