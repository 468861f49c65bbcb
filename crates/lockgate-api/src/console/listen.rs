//! The console's own listener: a loopback port that exists only while somebody can use it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::router::Api;
use crate::server::{Listener, serve};

/// How often the port looks whether a link or a session is left.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Asks [`serve_console`] for the address of its port.
pub struct OpenConsole(pub(crate) oneshot::Sender<io::Result<SocketAddr>>);

/// Serves the console on a loopback port: bound when first asked, closed when the last link and
/// session have ended, bound anew when asked again. Returns once `stop` is told.
pub async fn serve_console(
    mut asked: mpsc::Receiver<OpenConsole>,
    api: Api,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return,
            first = asked.recv() => first,
        };
        let Some(OpenConsole(answer)) = first else {
            return;
        };
        // Who asked may have left; then the next one is answered.
        let (listener, address) = match bind().await {
            Ok(bound) => bound,
            Err(error) => {
                let _ = answer.send(Err(error));
                continue;
            }
        };
        let _ = answer.send(Ok(address));
        tracing::info!(%address, "console listens");
        let closing = stop.child_token();
        tokio::join!(
            serve(Listener::Console(listener), api.clone(), closing.clone()),
            until_unused(&mut asked, address, &api, &closing),
        );
        tracing::info!(%address, "console closed");
    }
}

async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Tells the address to whoever asks, until nobody can use it or the node stops.
async fn until_unused(
    asked: &mut mpsc::Receiver<OpenConsole>,
    address: SocketAddr,
    api: &Api,
    closing: &CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            another = asked.recv() => match another {
                Some(OpenConsole(answer)) => {
                    let _ = answer.send(Ok(address));
                }
                None => closing.cancel(),
            },
            _ = looks.tick() => {
                if !api.console_in_use() {
                    closing.cancel();
                }
            }
        }
    }
}
