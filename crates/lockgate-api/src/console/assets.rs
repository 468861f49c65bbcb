//! What the page loads: embedded, so that no file and no other host is needed. Their names carry
//! a hash of their content, so that browsers keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

/// Where assets are, before their names.
const PREFIX: &str = "/console/assets";
/// An address with a hash never changes what it means.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// One embedded file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const STYLE: usize = 0;
const SCRIPT: usize = 1;
const HTMX: usize = 2;
const UPLOT: usize = 3;
const ICON: usize = 4;

/// Style sheets are one file to the browser: the charts' own, then ours.
const ASSETS: [Asset; 5] = [
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        text: concat!(
            include_str!("../../assets/uPlot.min.css"),
            "\n",
            include_str!("../../assets/console.css")
        ),
    },
    Asset {
        name: "console.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../../assets/console.js"),
    },
    Asset {
        name: "htmx.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../../assets/htmx.min.js"),
    },
    Asset {
        name: "uplot.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../../assets/uPlot.iife.min.js"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        text: include_str!("../../assets/icon.svg"),
    },
];

/// Addresses of the assets, for templates.
pub(super) struct Addresses {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) htmx: String,
    pub(super) uplot: String,
    pub(super) icon: String,
}

/// The addresses, made once.
pub(super) static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| {
    let address = |index: usize| {
        let asset = &ASSETS[index];
        let hash = hex::encode(&Sha256::digest(asset.text)[..6]);
        format!("{PREFIX}/{}?v={hash}", asset.name)
    };
    Addresses {
        style: address(STYLE),
        script: address(SCRIPT),
        htmx: address(HTMX),
        uplot: address(UPLOT),
        icon: address(ICON),
    }
});

/// One asset. They hold nothing of the node, so nobody is asked for a session.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let headers = [
                (header::CONTENT_TYPE, asset.kind),
                (header::CACHE_CONTROL, FOR_GOOD),
            ];
            (headers, asset.text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests;
