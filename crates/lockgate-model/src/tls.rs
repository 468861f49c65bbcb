//! How the server at the other end of a TLS connection is known.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::image::Digest;

/// Largest text of certificates: a whole bundle of a public authority is far smaller.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Most certificates of one text: each is tried when a chain is verified.
const CERTIFICATES_MAX: usize = 64;
/// Hex digits that keep settings apart: nobody finds two that share them.
const SUFFIX_DIGITS: usize = 32;
/// Length of a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// What a stack says about the server besides its URL. Verification itself is not a choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TlsSettings {
    /// What the certificate must be for, instead of the URL's host.
    pub server_name: Option<ServerIdentity>,
    /// Authorities that are trusted besides those of the system.
    pub ca_certificates: Option<CaCertificates>,
}

impl TlsSettings {
    /// Nothing is said.
    pub fn is_default(&self) -> bool {
        self == &Self::default()
    }

    /// Appended to the name of an upstream, so that those of different settings are different;
    /// empty for the default.
    pub fn suffix(&self) -> String {
        if self.is_default() {
            return String::new();
        }
        let name = self.server_name.as_ref().map_or("", ServerIdentity::as_str);
        let pem = self.ca_certificates.as_ref().map(ToString::to_string);
        let both = format!("{name}\n{}", pem.unwrap_or_default());
        let hex = Digest::of(both.as_bytes()).hex();
        format!("#{}", hex.get(..SUFFIX_DIGITS).unwrap_or(&hex))
    }
}

/// A host name or IP address that a certificate can be for. Lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerIdentity(String);

impl ServerIdentity {
    /// Takes a name or an address; the error completes "the server name …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if is_server_name(text) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("is neither a host name nor an IP address")
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a certificate can be for `text`.
pub(crate) fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// Certificates of authorities, at least one; each is one that can be trusted as a root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaCertificates(Vec<Vec<u8>>);

impl CaCertificates {
    /// Reads PEM (RFC 7468); the error completes "the text …". Text between the certificates is
    /// left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("is larger than {} KiB", TEXT_BYTES_MAX / 1024));
        }
        let mut found: Vec<Vec<u8>> = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let number = found.len() + 1;
            let (kind, der) =
                section.map_err(|_| format!("has a broken certificate, number {number}"))?;
            match kind {
                SectionKind::Certificate => {}
                SectionKind::PrivateKey
                | SectionKind::RsaPrivateKey
                | SectionKind::EcPrivateKey => {
                    return Err("holds a private key, expected certificates only".into());
                }
                _ => return Err("holds something that is no certificate".into()),
            }
            let certificate = CertificateDer::from(der);
            webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|_| format!("has a broken certificate, number {number}"))?;
            found.push(certificate.to_vec());
            if found.len() > CERTIFICATES_MAX {
                return Err(format!("holds more than {CERTIFICATES_MAX} certificates"));
            }
        }
        if found.is_empty() {
            return Err("holds no certificate in PEM form".into());
        }
        Ok(Self(found))
    }

    /// The certificates in DER form, in the order of the text.
    pub fn der(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

impl fmt::Display for CaCertificates {
    /// PEM again, of one form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for der in &self.0 {
            f.write_str("-----BEGIN CERTIFICATE-----\n")?;
            let text = STANDARD.encode(der);
            for line in text.as_bytes().chunks(PEM_LINE) {
                f.write_str(std::str::from_utf8(line).unwrap_or_default())?;
                f.write_str("\n")?;
            }
            f.write_str("-----END CERTIFICATE-----\n")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CaCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaCertificates({})", self.0.len())
    }
}

#[cfg(test)]
mod tests;
