//! `lockgate logs SERVICE`.

use lockgate_model::ServiceId;
use serde_json::json;

use crate::cli::Logs;
use crate::failure::{CommandError, usage};
use crate::node::connect::{self, client_error};
use crate::workspace::App;

/// Prints the log of a service.
pub(crate) async fn run(app: &App, args: &Logs) -> Result<(), CommandError> {
    let id = match ServiceId::parse(&args.service) {
        Some(id) => id,
        None => {
            let (project, _, stack) = app.opened()?;
            ServiceId {
                project: project.name,
                stack: stack.stack().to_owned(),
                name: args.service.clone(),
            }
        }
    };
    let client = connect::need(&app.environment).await?;
    if client
        .find_service(&id)
        .await
        .map_err(|e| client_error(&e))?
        .is_none()
    {
        let services = client.services().await.map_err(|e| client_error(&e))?;
        let names: Vec<String> = services.iter().map(|s| s.id.to_string()).collect();
        let near = lockgate_diag::did_you_mean(&id.to_string(), names.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "run `lockgate node status` to see all".to_owned(),
            |near| format!("did you mean `{near}`"),
        );
        return Err(usage(format!("the node runs no service `{id}`"), hint));
    }
    let printer = &app.printer;
    let mut written = Ok(());
    client
        .logs(&id, args.lines, args.follow, &mut |line| {
            let text = if printer.json() {
                json!({
                    "instance": line.instance, "at": line.at, "stream": line.stream,
                    "text": line.text,
                })
                .to_string()
            } else {
                format!("{} {}", line.at, line.text)
            };
            written = printer.line(&text);
            written.is_ok()
        })
        .await
        .map_err(|e| client_error(&e))?;
    Ok(written?)
}
