//! Vendors, models and AI routes of a spec.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes::ai as codes};
use lockgate_llm::PriceTable;
use lockgate_model::ai::{AiPolicy, ModelSpec, VendorSpec};
use lockgate_model::gateway::RouteSpec;

use super::{Compiler, with_guess};
use crate::table::ai::{AiRoute, Lane, Model, Vendor};

/// Longest alias in bytes.
const ALIAS_BYTES_MAX: usize = 256;

impl<'s> Compiler<'s> {
    pub(super) fn vendors(&mut self) {
        let spec = self.spec;
        for vendor in &spec.ai.vendors {
            if let Some(made) = self.vendor(vendor) {
                self.vendors.insert(&vendor.name, Arc::new(made));
            }
        }
    }

    fn vendor(&mut self, spec: &VendorSpec) -> Option<Vendor> {
        let name = &spec.name;
        let prices = PriceTable::parse(&spec.prices).map_err(|error| {
            let text = format!("the prices of AI vendor `{name}` cannot be used");
            self.found
                .push(Diagnostic::error(codes::BAD_PRICES, text).caused_by(&error));
        });
        let sendable = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        if spec.key.as_ref().is_some_and(|key| !sendable(key.expose())) {
            let text = format!("the key of AI vendor `{name}` is not printable ASCII");
            self.found
                .push(Diagnostic::error(codes::BAD_VENDOR_KEY, text));
        }
        let upstream_name = spec.upstream_name();
        let upstream = self.upstreams.get(upstream_name.as_str()).copied();
        if upstream.is_none() {
            let text = format!("AI vendor `{name}` has no upstream `{upstream_name}`");
            self.found
                .push(Diagnostic::error(codes::BAD_BASE_URL, text));
        }
        Some(Vendor {
            name: name.as_str().into(),
            upstream: upstream?,
            host: spec.base_url.origin.authority().into(),
            path: spec.base_url.path.as_str().into(),
            key: spec.key.clone(),
            prices: prices.ok()?,
        })
    }

    pub(super) fn models(&mut self) {
        let spec = self.spec;
        for model in &spec.ai.models {
            let made = self.model(model);
            self.models.insert(&model.name, Arc::new(made));
        }
    }

    fn model(&mut self, spec: &ModelSpec) -> Model {
        let name = &spec.name;
        let alias = &spec.alias;
        let plain = |text: &str| {
            (1..=ALIAS_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
        };
        let lanes_fine = spec.lanes.iter().any(|lane| lane.weight > 0)
            && spec.lanes.iter().all(|lane| plain(&lane.vendor_model));
        if !plain(alias) || !lanes_fine {
            let text = format!(
                "AI model `{name}` needs an alias and at least one lane with a vendor model and a weight above 0"
            );
            self.found.push(Diagnostic::error(codes::BAD_MODEL, text));
        }
        let mut sum = 0;
        let mut lanes = Vec::with_capacity(spec.lanes.len());
        for lane in &spec.lanes {
            let Some(vendor) = self.vendors.get(lane.vendor.as_str()) else {
                // A vendor that is there but wrong was told already.
                let vendors = self.spec.ai.vendors.iter();
                if !vendors.clone().any(|vendor| vendor.name == lane.vendor) {
                    let text = format!(
                        "AI model `{name}` names vendor `{}`, which does not exist",
                        lane.vendor
                    );
                    let diagnostic = Diagnostic::error(codes::UNKNOWN_VENDOR, text);
                    let known = vendors.map(|vendor| vendor.name.as_str());
                    self.found.push(with_guess(diagnostic, &lane.vendor, known));
                }
                continue;
            };
            sum += u64::from(lane.weight);
            if lane.weight > 0 {
                let vendor_model = lane.vendor_model.as_str().into();
                let vendor = Arc::clone(vendor);
                lanes.push((
                    Lane {
                        vendor,
                        vendor_model,
                    },
                    sum,
                ));
            }
        }
        Model {
            alias: alias.as_str().into(),
            lanes,
        }
    }

    pub(super) fn ai_route(&mut self, route: &RouteSpec, policy: &AiPolicy) -> AiRoute {
        if !route.backends.is_empty() || policy.models.is_empty() {
            let text = format!(
                "AI route `{}` has backends or no models, expected models only",
                route.name
            );
            self.found
                .push(Diagnostic::error(codes::BAD_AI_ROUTE, text));
        }
        let mut models: BTreeMap<Arc<str>, Arc<Model>> = BTreeMap::new();
        for name in &policy.models {
            let Some(model) = self.models.get(name.as_str()) else {
                let text = format!(
                    "AI route `{}` names model `{name}`, which does not exist",
                    route.name
                );
                let diagnostic = Diagnostic::error(codes::UNKNOWN_MODEL, text);
                let known = self.spec.ai.models.iter().map(|model| model.name.as_str());
                self.found.push(with_guess(diagnostic, name, known));
                continue;
            };
            match models.entry(Arc::clone(&model.alias)) {
                Entry::Vacant(place) => {
                    place.insert(Arc::clone(model));
                }
                Entry::Occupied(_) => {
                    let text = format!(
                        "AI route `{}` has two models of alias `{}`",
                        route.name, model.alias
                    );
                    self.found
                        .push(Diagnostic::error(codes::DUPLICATE_ALIAS, text));
                }
            }
        }
        AiRoute { models }
    }
}
