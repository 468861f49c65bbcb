//! The JSON shapes of the API, version 1, and their conversions from and to the model. Fields are
//! in camel case, times in RFC 3339, durations in milliseconds, sizes in bytes. Unknown fields are
//! refused: a field that is not understood would have no effect.

mod ai;
mod node;
mod problem;
mod route;
mod service;
mod tls;

pub use ai::{
    CallView, LaneBody, ModelBody, ModelView, TokensView, TotalView, TotalsView, UsageView,
    VendorBody, VendorView,
};
pub use node::{
    ApiKeyBody, ApiKeyView, AuditView, ConsoleLinkView, ConsumerBody, ConsumerView, GatewayView,
    LedgerView, MinuteView, NodeStatus, ShutdownBody, TrafficView, UpstreamView,
};
pub use problem::Problem;
pub use route::{
    AiBody, AuthBody, BackendBody, FieldBody, PathBody, RateLimitBody, RouteBody, RouteView,
    TimeoutsBody,
};
pub use service::{
    HealthBody, InstanceView, LimitsBody, LogLine, ProbeBody, RolloutBody, ServiceBody,
    ServiceEvent, ServiceView,
};
pub use tls::TlsBody;

use std::time::Duration;

/// A field that holds what its type does not allow, as `field: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldError(pub String);

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
