//! Calls of the client about AI vendors, models and usage.

use lockgate_model::ai::{CallGroup, ModelSpec, VendorSpec};

use super::{Client, ClientError, object_path, parse_name};
use crate::wire::{ModelBody, ModelView, TotalsView, UsageView, VendorBody, VendorView};

const VENDORS: &str = "ai/vendors";
const MODELS: &str = "ai/models";
/// Calls asked for at once: the most that the node gives.
const USAGE_PAGE: u32 = 10_000;

impl Client {
    /// Makes an AI vendor known. Its key leaves this process in the request only.
    pub async fn apply_vendor(&self, vendor: &VendorSpec) -> Result<VendorView, ClientError> {
        let path = object_path(VENDORS, &parse_name(&vendor.name)?);
        self.put(&path, &VendorBody::of(vendor)).await
    }

    /// The AI vendor of this name, without its key.
    pub async fn find_vendor(&self, name: &str) -> Result<Option<VendorView>, ClientError> {
        self.find(&object_path(VENDORS, &parse_name(name)?)).await
    }

    /// Forgets an AI vendor.
    pub async fn remove_vendor(&self, name: &str) -> Result<(), ClientError> {
        self.remove(&object_path(VENDORS, &parse_name(name)?)).await
    }

    /// Makes an AI model known.
    pub async fn apply_model(&self, model: &ModelSpec) -> Result<(), ClientError> {
        let path = object_path(MODELS, &parse_name(&model.name)?);
        let _: ModelView = self.put(&path, &ModelBody::from(model)).await?;
        Ok(())
    }

    /// The AI model of this name.
    pub async fn find_model(&self, name: &str) -> Result<Option<ModelSpec>, ClientError> {
        let path = object_path(MODELS, &parse_name(name)?);
        let view: Option<ModelView> = self.find(&path).await?;
        Ok(view.map(|view| view.model.into_model(view.name)))
    }

    /// Forgets an AI model.
    pub async fn remove_model(&self, name: &str) -> Result<(), ClientError> {
        self.remove(&object_path(MODELS, &parse_name(name)?)).await
    }

    /// Calls to AI vendors of the last `minutes`, added up by the values of `by`.
    pub async fn ai_totals(
        &self,
        minutes: u32,
        by: &[CallGroup],
    ) -> Result<TotalsView, ClientError> {
        let by: Vec<&str> = by.iter().map(|group| group.as_str()).collect();
        let by = by.join(",");
        self.get(&format!("/v1/ai/totals?minutes={minutes}&by={by}"))
            .await
    }

    /// Calls to AI vendors of the last `minutes`, newest first, at most `limit`; asks for page
    /// after page.
    pub async fn ai_usage(&self, minutes: u32, limit: u32) -> Result<UsageView, ClientError> {
        let page = |limit: u32, after: Option<&str>| {
            let limit = limit.min(USAGE_PAGE);
            let after = after.map_or_else(String::new, |place| format!("&after={place}"));
            format!("/v1/ai/usage?minutes={minutes}&limit={limit}{after}")
        };
        let mut usage: UsageView = self.get(&page(limit, None)).await?;
        loop {
            let have = u32::try_from(usage.calls.len()).unwrap_or(u32::MAX);
            let Some(next) = usage.next.take().filter(|_| have < limit) else {
                return Ok(usage);
            };
            let more: UsageView = self.get(&page(limit - have, Some(&next))).await?;
            usage.calls.extend(more.calls);
            (usage.more, usage.next) = (more.more, more.next);
        }
    }
}
