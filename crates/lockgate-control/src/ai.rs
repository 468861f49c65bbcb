//! Use cases of AI vendors and models, and the calls made to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::ai::{
    CallGroup, CallPlace, CallRow, CallTotal, LedgerHealth, ModelSpec, VendorSpec,
};
use lockgate_model::{Timestamp, gateway::RouteSpec};
use lockgate_store::Change;

use crate::check::{check_name, check_room, check_unused, check_vendor};
use crate::objects::resolve;
use crate::state::{State, swap_entry};
use crate::{Caller, ControlError, Shared};

impl Shared {
    pub(crate) async fn apply_vendor(
        self: Arc<Self>,
        caller: Caller,
        vendor: VendorSpec,
    ) -> Result<(), ControlError> {
        check_name("AI vendor", &vendor.name).map_err(ControlError::Invalid)?;
        check_vendor(&vendor).map_err(ControlError::Invalid)?;
        let origin = &vendor.base_url.origin;
        let addresses = resolve(origin).await?;
        let mut resolved = BTreeMap::from([(origin.to_string(), addresses)]);
        if self.state.lock().vendors.get(&vendor.name) == Some(&vendor) {
            return Ok(());
        }
        let name = vendor.name.clone();
        let mut slot = Some(vendor.clone());
        self.commit(
            &caller,
            &Change::PutVendor(vendor),
            |state| check_room("AI vendor", state.vendors.len()),
            ControlError::Conflict,
            |state| {
                swap_entry(&mut state.vendors, &name, &mut slot);
                state.addresses.append(&mut resolved);
            },
        )
        .await
    }

    pub(crate) async fn remove_vendor(
        self: Arc<Self>,
        caller: Caller,
        name: String,
    ) -> Result<(), ControlError> {
        if !self.state.lock().vendors.contains_key(&name) {
            return Ok(());
        }
        let mut slot = None;
        self.commit(
            &caller,
            &Change::RemoveVendor(name.clone()),
            |state| {
                let names = state.models.values().filter(|model| {
                    let mut lanes = model.lanes.iter();
                    lanes.any(|lane| lane.vendor == name)
                });
                let users = names.map(|model| format!("AI model `{}`", model.name));
                check_unused(&format!("AI vendor `{name}`"), users)
            },
            ControlError::Conflict,
            |state| swap_entry(&mut state.vendors, &name, &mut slot),
        )
        .await
    }

    pub(crate) async fn apply_model(
        self: Arc<Self>,
        caller: Caller,
        model: ModelSpec,
    ) -> Result<(), ControlError> {
        check_name("AI model", &model.name).map_err(ControlError::Invalid)?;
        if self.state.lock().models.get(&model.name) == Some(&model) {
            return Ok(());
        }
        let name = model.name.clone();
        let mut slot = Some(model.clone());
        self.commit(
            &caller,
            &Change::PutModel(model),
            |state| check_room("AI model", state.models.len()),
            ControlError::Conflict,
            |state| swap_entry(&mut state.models, &name, &mut slot),
        )
        .await
    }

    pub(crate) async fn remove_model(
        self: Arc<Self>,
        caller: Caller,
        name: String,
    ) -> Result<(), ControlError> {
        if !self.state.lock().models.contains_key(&name) {
            return Ok(());
        }
        let mut slot = None;
        self.commit(
            &caller,
            &Change::RemoveModel(name.clone()),
            |state| check_unused(&format!("AI model `{name}`"), routes_of(state, &name)),
            ControlError::Conflict,
            |state| swap_entry(&mut state.models, &name, &mut slot),
        )
        .await
    }

    pub(crate) async fn find_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, ControlError> {
        let found = self.store.find_calls(from, after, limit).await;
        found.map_err(ControlError::Store)
    }

    pub(crate) fn ledger_health(&self) -> LedgerHealth {
        self.store.ledger_health().unwrap_or_default()
    }

    pub(crate) async fn sum_calls(
        &self,
        from: Timestamp,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, ControlError> {
        let found = self.store.sum_calls(from, by).await;
        found.map_err(ControlError::Store)
    }
}

/// The routes that offer a model.
fn routes_of<'s>(state: &'s State, model: &'s str) -> impl Iterator<Item = String> + 's {
    let offers = move |route: &&RouteSpec| {
        let mut models = route.ai.iter().flat_map(|ai| &ai.models);
        models.any(|name| name == model)
    };
    let routes = state.routes.values().filter(offers);
    routes.map(|route| format!("route `{}`", route.name))
}
