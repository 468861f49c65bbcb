//! AI vendors and models as they are stored. A vendor's key is sealed.

use lockgate_model::Rng;
use lockgate_model::ai::{BaseUrl, LaneSpec, ModelSpec, VendorSpec};
use serde::{Deserialize, Serialize};

use super::TlsV1;
use crate::DocumentError;
use crate::seal::Sealer;

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum VendorDocument {
    #[serde(rename = "1")]
    V1 {
        base_url: String,
        sealed_key: Option<String>,
        prices: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<TlsV1>,
    },
}

/// Where the key is stored, as authenticated by its seal.
fn place(name: &str) -> String {
    format!("ai_vendor\n{name}\nkey\n1")
}

impl VendorDocument {
    pub(crate) fn new(vendor: &VendorSpec, sealer: &Sealer, rng: &dyn Rng) -> Self {
        let seal = |key| sealer.seal(key, &place(&vendor.name), rng);
        Self::V1 {
            base_url: vendor.base_url.to_string(),
            sealed_key: vendor.key.as_ref().map(seal),
            prices: vendor.prices.clone(),
            tls: TlsV1::of(&vendor.tls),
        }
    }

    pub(crate) fn into_model(
        self,
        name: String,
        sealer: &Sealer,
    ) -> Result<VendorSpec, DocumentError> {
        let Self::V1 {
            base_url,
            sealed_key,
            prices,
            tls,
        } = self;
        let open = |sealed: String| {
            let key = sealer.open(&sealed, &place(&name));
            key.ok_or_else(|| DocumentError::Seal("key".into()))
        };
        Ok(VendorSpec {
            base_url: BaseUrl::parse(&base_url).map_err(|_| DocumentError::Field("base_url"))?,
            tls: tls.unwrap_or_default().into_model()?,
            key: sealed_key.map(open).transpose()?,
            prices,
            name,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum ModelDocument {
    #[serde(rename = "1")]
    V1 { alias: String, lanes: Vec<LaneV1> },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LaneV1 {
    vendor: String,
    vendor_model: String,
    weight: u32,
}

impl From<&ModelSpec> for ModelDocument {
    fn from(model: &ModelSpec) -> Self {
        let lane = |lane: &LaneSpec| LaneV1 {
            vendor: lane.vendor.clone(),
            vendor_model: lane.vendor_model.clone(),
            weight: lane.weight,
        };
        Self::V1 {
            alias: model.alias.clone(),
            lanes: model.lanes.iter().map(lane).collect(),
        }
    }
}

impl ModelDocument {
    pub(crate) fn into_model(self, name: String) -> ModelSpec {
        let Self::V1 { alias, lanes } = self;
        let lane = |lane: LaneV1| LaneSpec {
            vendor: lane.vendor,
            vendor_model: lane.vendor_model,
            weight: lane.weight,
        };
        ModelSpec {
            name,
            alias,
            lanes: lanes.into_iter().map(lane).collect(),
        }
    }
}
