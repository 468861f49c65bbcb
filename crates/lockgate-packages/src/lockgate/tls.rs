//! `caCertificates` and `serverName`, wherever a server is named by a URL.

use lockgate_model::tls::{CaCertificates, ServerIdentity, TlsSettings};

use super::reader::Reader;
use crate::bag;

/// Names of the two inputs.
pub(super) const INPUTS: [&str; 2] = ["caCertificates", "serverName"];

/// Reads the two. `spoken` tells whether the URL is one of `https`; `None` when it is not known.
pub(super) fn read_tls(r: &mut Reader<'_>, spoken: Option<bool>) -> TlsSettings {
    if spoken == Some(false) {
        for name in INPUTS {
            if r.has(name) {
                r.fail(name, "is for `https://` URLs only");
            }
        }
        return TlsSettings::default();
    }
    let mut settings = TlsSettings::default();
    if let Some(text) = bag::text(r.bag(), "caCertificates") {
        match CaCertificates::parse(text) {
            Ok(certificates) => settings.ca_certificates = Some(certificates),
            Err(why) => r.fail("caCertificates", why),
        }
    }
    if let Some(text) = bag::text(r.bag(), "serverName") {
        match ServerIdentity::parse(text) {
            Ok(name) => settings.server_name = Some(name),
            Err(why) => r.fail("serverName", format!("`{text}` {why}")),
        }
    }
    settings
}
