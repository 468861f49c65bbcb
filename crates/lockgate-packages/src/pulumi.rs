//! The `pulumi` package: what an engine brings itself, other stacks and values that are kept
//! (engine guide, section 12).

mod reference;
mod stash;

use std::sync::Arc;

use crate::package::{Function, Kind, Package};
use crate::schema;
use crate::stacks::Stacks;
use reference::Reader;

/// The package over the place where stacks are kept.
pub(crate) fn package(stacks: &Arc<dyn Stacks>) -> Package {
    let reader = || Reader(Arc::clone(stacks));
    let kinds: [(&'static str, Box<dyn Kind>); 2] = [
        (
            "pulumi:pulumi:StackReference",
            Box::new(reference::StackReference(reader())),
        ),
        ("pulumi:index:Stash", Box::new(stash::Stash)),
    ];
    let functions: [(&'static str, Box<dyn Function>); 2] = [
        (
            "pulumi:pulumi:readStackOutputs",
            Box::new(reference::ReadOutputs(reader())),
        ),
        (
            "pulumi:pulumi:readStackResourceOutputs",
            Box::new(reference::ReadResourceOutputs(reader())),
        ),
    ];
    Package {
        schema: Arc::clone(&schema::PULUMI),
        kinds: kinds.into(),
        functions: functions.into(),
    }
}
