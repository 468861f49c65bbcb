//! The OpenAPI document of the API, made from the handlers without a server.

use utoipa::OpenApi;

use crate::handlers::{ai, node, objects, services};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockgate node",
        version = "1",
        description = "The API of a running node. A breaking change raises the version."
    ),
    paths(
        node::status,
        node::shutdown,
        node::gateway,
        node::audit,
        node::console_link,
        node::metrics,
        services::list,
        services::apply,
        services::find,
        services::remove,
        services::logs,
        objects::apply_route,
        objects::find_route,
        objects::remove_route,
        objects::traffic,
        objects::apply_consumer,
        objects::find_consumer,
        objects::remove_consumer,
        objects::apply_api_key,
        objects::find_api_key,
        objects::remove_api_key,
        ai::apply_vendor,
        ai::find_vendor,
        ai::remove_vendor,
        ai::apply_model,
        ai::find_model,
        ai::remove_model,
        ai::totals,
        ai::usage,
    )
)]
struct Document;

/// The document as indented JSON with a final line end.
pub fn document() -> String {
    let mut text = serde_json::to_string_pretty(&Document::openapi()).unwrap_or_default();
    text.push('\n');
    text
}
