//! Certificates of an authority of one's own, and nginx that speaks TLS in front of a server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::process::Server;

/// Whom servers get their certificates from.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Identity {
    /// Settings of a server that shows this certificate and speaks `versions`.
    pub fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday to tomorrow.
    Now,
    /// Until yesterday.
    Past,
    /// From tomorrow on.
    Future,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Authority {
    /// An authority of this name.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// A certificate for `names`, which are hosts or addresses.
    pub fn issue(&self, names: &[&str], validity: Validity) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("server");
        let now = SystemTime::now();
        let (from, to) = match validity {
            Validity::Now => (now - DAY, now + DAY),
            Validity::Past => (now - 2 * DAY, now - DAY),
            Validity::Future => (now + DAY, now + 2 * DAY),
        };
        params.not_before = from.into();
        params.not_after = to.into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity {
            certificate: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
        })
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// nginx that speaks TLS. Dropping it stops it.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    // Before the folder: the server must be gone when its files go.
    _server: Server,
    _folder: TempDir,
}

impl Front {
    /// Starts it as `identity`. `protocols` are names such as `TLSv1.3`, `location` is what stands
    /// inside of `location /`, `server` what stands beside it.
    pub fn start(
        identity: &Identity,
        protocols: &str,
        server: &str,
        location: &str,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("lockgate-nginx-")
            .tempdir()?;
        let root = folder.path().display().to_string();
        fs_err::write(folder.path().join("server.pem"), &identity.certificate)?;
        fs_err::write(folder.path().join("server.key"), &identity.key)?;
        // Freed at once for the server; nothing else on this machine asks for ports just now.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("{what}_temp_path {root}/{what};\n"))
            .collect();
        let settings = format!(
            "daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n{temporary}\
             server {{\nlisten {address} ssl;\nssl_certificate {root}/server.pem;\n\
             ssl_certificate_key {root}/server.key;\nssl_protocols {protocols};\n\
             client_max_body_size 0;\n{server}\nlocation / {{\n{location}\n}}\n}}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs_err::write(&file, settings)?;
        let server = Server::start(
            "nginx",
            "nginx-light",
            &["-p", &root, "-c", &file.display().to_string()],
            &folder.path().join("log"),
            || Ok(TcpStream::connect(address).is_ok()),
        )?;
        Ok(Self {
            address,
            _server: server,
            _folder: folder,
        })
    }

    /// One in front of the HTTP server at `address`, which passes answers on as they come.
    pub fn before(identity: &Identity, address: &str) -> Result<Self> {
        let location = format!(
            "proxy_pass http://{address};\nproxy_http_version 1.1;\n\
             proxy_set_header Connection \"\";\nproxy_buffering off;\n"
        );
        Self::start(identity, "TLSv1.2 TLSv1.3", "", &location)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
