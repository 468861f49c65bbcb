//! What calls have in common, made once per core and table: a call then copies one pointer.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lockgate_model::ai::{CallTerms, Operation};

use crate::core::Held;
use crate::table::ai::{Lane, Model};
use crate::trace::Trace;

/// Terms that a core keeps; when there are more, it begins anew.
const KEPT_MAX: usize = 1024;

/// The terms that a core has made.
#[derive(Debug, Default)]
pub(crate) struct KnownTerms {
    /// The table whose parts the keys point at; holding it keeps the addresses theirs.
    table: Option<Rc<Held>>,
    known: HashMap<Key, Arc<CallTerms>>,
}

/// What tells terms of one table apart.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    route: u32,
    /// Addresses of the key's id and of the lane.
    api_key: Option<usize>,
    lane: usize,
    operation: Operation,
}

impl KnownTerms {
    /// The terms of a call.
    pub(super) fn of(
        &mut self,
        (table, route): (&Rc<Held>, u32),
        trace: &Trace,
        (model, lane): (&Model, &Lane),
        operation: Operation,
    ) -> Arc<CallTerms> {
        let same = self
            .table
            .as_ref()
            .is_some_and(|known| Rc::ptr_eq(known, table));
        if !same || self.known.len() >= KEPT_MAX {
            self.known.clear();
            self.table = Some(Rc::clone(table));
        }
        let key = Key {
            route,
            api_key: trace.api_key.as_ref().map(|id| id.as_ptr() as usize),
            lane: std::ptr::from_ref(lane) as usize,
            operation,
        };
        // A price changes with the day.
        let price = lane.vendor.prices.find(&lane.vendor_model, trace.at);
        if let Some(terms) = self.known.get(&key)
            && terms.price.as_ref() == price
        {
            return Arc::clone(terms);
        }
        let terms = Arc::new(CallTerms {
            route: table.routes[route as usize].name.clone(),
            consumer: trace.consumer.clone(),
            api_key: trace.api_key.clone(),
            alias: model.alias.clone(),
            vendor: lane.vendor.name.clone(),
            vendor_model: lane.vendor_model.clone(),
            operation,
            price: price.cloned(),
        });
        self.known.insert(key, Arc::clone(&terms));
        terms
    }
}
