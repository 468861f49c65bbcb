//! `lockgate:ai:*`.

mod model;
mod route;
mod vendor;

pub(super) use model::Model;
pub(super) use route::Route;
pub(super) use vendor::Vendor;
