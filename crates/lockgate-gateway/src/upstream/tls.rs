//! How servers are verified, and what is said when one is not accepted.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use lockgate_model::Clock;
use lockgate_model::gateway::TlsSpec;
use lockgate_model::tls::CaCertificates;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, PeerIncompatible,
    RootCertStore,
};

use crate::io::HandshakeError;

/// Sessions kept per endpoint for its next handshakes. Each has one name, and the library keeps
/// several tickets of it.
const SESSIONS_MAX: usize = 8;
/// Names of a certificate that are told when none is the right one.
const NAMES_TOLD_MAX: usize = 5;

/// Makes clients. One for all endpoints of a gateway.
pub(crate) struct TlsClients {
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    /// The system's roots, read once, when the first endpoint needs them.
    system: OnceLock<Arc<RootCertStore>>,
    /// The system's roots and others: a hundred and more certificates, so endpoints share them.
    /// As many as there are different settings, and gone with the last endpoint that has them.
    extended: HashMap<CaCertificates, Weak<RootCertStore>>,
}

impl std::fmt::Debug for TlsClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsClients")
    }
}

/// How one endpoint is spoken to by TLS. Its sessions are resumed under the same settings only.
#[derive(Debug)]
pub(crate) struct TlsClient {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

struct WallTime(Arc<dyn Clock>);

impl std::fmt::Debug for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallTime")
    }
}

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.0.now().as_secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

impl TlsClients {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            clock,
            system: OnceLock::new(),
            extended: HashMap::new(),
        }
    }

    /// A client for the server of `spec`. There is none that does not verify.
    pub(crate) fn client(&mut self, spec: &TlsSpec) -> TlsClient {
        let roots = self.roots(spec.ca_certificates.as_ref());
        let time = Arc::new(WallTime(Arc::clone(&self.clock)));
        let mut config = ClientConfig::builder_with_details(Arc::clone(&self.provider), time)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let name = ServerName::try_from(spec.server_name.as_str().to_owned());
        TlsClient {
            config: Arc::new(config),
            name: name.expect("the model takes only names that certificates can be for"),
        }
    }

    fn roots(&mut self, own: Option<&CaCertificates>) -> Arc<RootCertStore> {
        let system = self.system.get_or_init(|| Arc::new(system_roots()));
        let Some(own) = own else {
            return Arc::clone(system);
        };
        if let Some(shared) = self.extended.get(own).and_then(Weak::upgrade) {
            return shared;
        }
        let mut roots = RootCertStore::clone(system);
        roots.add_parsable_certificates(own.der().map(CertificateDer::from));
        let roots = Arc::new(roots);
        self.extended.retain(|_, roots| roots.strong_count() > 0);
        self.extended.insert(own.clone(), Arc::downgrade(&roots));
        roots
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(ToString::to_string);
        tracing::warn!(
            cause = cause.unwrap_or_default(),
            "the system has no root certificates, so only upstreams with caCertificates can be verified"
        );
    }
    roots
}

/// Why no TLS came about, for the log. The certificate of a stranger is quoted with care.
pub(crate) fn explain(error: &HandshakeError) -> String {
    match error {
        HandshakeError::Tls(error) => explain_tls(error),
        HandshakeError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the handshake".into()
        }
        HandshakeError::Io(error) => format!("the connection failed during the handshake: {error}"),
    }
}

fn explain_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS on this port".into()
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it refuses HTTP/1.1".into()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not know the server name".into()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => {
            "it speaks neither TLS 1.2 nor 1.3".into()
        }
        Error::AlertReceived(alert) => format!("it refused the handshake: {alert:?}"),
        Error::PeerIncompatible(_) => format!("it has nothing in common with us: {error}"),
        error => format!("its handshake is broken: {error}"),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is from an authority that is not trusted".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let mut names: Vec<String> = presented
                .iter()
                .take(NAMES_TOLD_MAX)
                .map(|name| name.escape_debug().to_string())
                .collect();
            if presented.len() > NAMES_TOLD_MAX {
                names.push("…".into());
            }
            format!(
                "its certificate is not for `{}` but for {}",
                expected.to_str(),
                names.join(", ")
            )
        }
        CertificateError::Other(other) => match other.source() {
            Some(source) => format!("its certificate cannot be used: {other}: {source}"),
            None => format!("its certificate cannot be used: {other}"),
        },
        error => format!("its certificate cannot be used: {error}"),
    }
}
