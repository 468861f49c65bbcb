//! `lockgate console`.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::cli::Console;
use crate::failure::CommandError;
use crate::node::connect::{self, client_error};
use crate::workspace::App;

/// Opens what it is given with the program the user has chosen for it (freedesktop.org xdg-utils).
const OPENER: &str = "xdg-open";

/// Asks the node for a link, prints it, and opens it when wanted and possible.
pub(crate) async fn run(app: &App, args: &Console) -> Result<(), CommandError> {
    let client = connect::need(&app.environment).await?;
    let link = client.console_link().await.map_err(|e| client_error(&e))?;
    if app.printer.json() {
        let document = json!({ "url": link.url, "expiresInMs": link.expires_in_ms });
        return Ok(app.printer.json_document(&document)?);
    }
    app.printer.line(&link.url)?;
    if args.open && app.printer.terminal() && app.environment.desktop && open(&link.url) {
        app.printer.say("opening it in your browser");
    } else {
        let seconds = link.expires_in_ms / 1000;
        app.printer.say(&format!(
            "open it on this machine within {seconds} s; it works once"
        ));
    }
    Ok(())
}

/// Starts the browser and does not wait for it. For the moment until it asks, other users of the
/// machine may see the link among its arguments; whoever loses that race is told by a locked page.
fn open(url: &str) -> bool {
    let mut opener = Command::new(OPENER);
    opener
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    opener.spawn().is_ok()
}
