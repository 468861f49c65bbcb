//! The `lockgate` package: images, services and the gateway.

mod ai;
mod gateway;
mod image;
mod local;
mod service;
