//! What is said about servers that speak TLS, on the wire.

use lockgate_model::tls::{CaCertificates, ServerIdentity, TlsSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldError;

/// How the server of an `https` URL is known. It is always verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsBody {
    /// What its certificate must be for, instead of the URL's host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Certificates of authorities that are trusted besides those of the system, as PEM.
    #[serde(default)]
    pub ca_certificates: Option<String>,
}

impl TlsBody {
    /// The body of settings; `None` for the default.
    pub fn of(tls: &TlsSettings) -> Option<Self> {
        let name = tls.server_name.as_ref();
        (!tls.is_default()).then(|| Self {
            server_name: name.map(|name| name.as_str().to_owned()),
            ca_certificates: tls.ca_certificates.as_ref().map(ToString::to_string),
        })
    }

    /// The settings of a body.
    pub fn into_model(body: Option<Self>) -> Result<TlsSettings, FieldError> {
        let Some(body) = body else {
            return Ok(TlsSettings::default());
        };
        let name = body.server_name.as_deref().map(ServerIdentity::parse);
        let pem = body.ca_certificates.as_deref().map(CaCertificates::parse);
        Ok(TlsSettings {
            server_name: name
                .transpose()
                .map_err(|why| FieldError(format!("tls.serverName: the server name {why}")))?,
            ca_certificates: pem
                .transpose()
                .map_err(|why| FieldError(format!("tls.caCertificates: the text {why}")))?,
        })
    }
}
