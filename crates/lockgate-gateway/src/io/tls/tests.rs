//! A TLS connection against a server on a socket that takes little at once.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};

use lockgate_testkit::tls::{Authority, Validity};
use rustls::pki_types::CertificateDer;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// More than the sockets below take, and less than one write gives.
const BYTES: usize = 60_000;

fn client_config(authority: &Authority) -> ClientConfig {
    let pem = lockgate_model::tls::CaCertificates::parse(&authority.pem()).expect("certificates");
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pem.der().map(CertificateDer::from));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Takes one connection, reads once `go` was said, and answers when it has everything.
fn answer_at_the_end(
    listener: &std::net::TcpListener,
    config: Arc<ServerConfig>,
    go: &std::sync::mpsc::Receiver<()>,
) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut session = ServerConnection::new(config).expect("a session");
    while session.is_handshaking() {
        session.complete_io(&mut stream).expect("a handshake");
    }
    go.recv().expect("the test goes on");
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.read_exact(&mut [0; BYTES]).expect("all bytes");
    tls.write_all(b"done").expect("written");
    tls.flush().expect("flushed");
}

#[tokio::test]
async fn what_was_taken_leaves_with_the_reads() {
    let authority = Authority::new("root").expect("an authority");
    let identity = authority
        .issue(&["up.test"], Validity::Now)
        .expect("issued");
    let server = identity
        .server(&[&rustls::version::TLS13])
        .expect("settings");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let small = socket2::SockRef::from(&listener);
    small.set_recv_buffer_size(4096).expect("a small buffer");
    let address = listener.local_addr().expect("an address");
    let (go, wait) = std::sync::mpsc::sync_channel(1);
    let peer = std::thread::spawn(move || answer_at_the_end(&listener, server, &wait));

    let stream = tokio::net::TcpStream::connect(address).await.expect("open");
    let small = socket2::SockRef::from(&stream);
    small.set_send_buffer_size(4096).expect("a small buffer");
    let name = ServerName::try_from("up.test").expect("a name");
    let config = Arc::new(client_config(&authority));
    let tcp = Tcp::new(stream).expect("a socket");
    let mut tls = Tls::new(tcp, config, name).expect("a session");
    poll_fn(|cx| tls.poll_handshake(cx))
        .await
        .expect("a handshake");

    let bytes = [7; BYTES];
    let taken = poll_fn(|cx| tls.poll_write(cx, &[IoSlice::new(&bytes)])).await;
    assert_eq!(taken.expect("written"), BYTES);
    assert!(tls.session.wants_write(), "the socket took everything");
    go.send(()).expect("the server waits");
    let mut answer = [0; 16];
    let limit = std::time::Duration::from_secs(20);
    let read = tokio::time::timeout(limit, poll_fn(|cx| tls.poll_read(cx, &mut answer)));
    let n = read.await.expect("in time").expect("an answer");
    assert_eq!(&answer[..n], b"done");
    peer.join().expect("the server is content");
}
