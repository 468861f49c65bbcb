//! `lockgate explain CODE`.

use lockgate_diag::codes;
use serde_json::json;

use crate::failure::{CommandError, usage};
use crate::workspace::App;

/// Prints the page of a diagnostic code.
pub(crate) fn run(app: &App, code: &str) -> Result<(), CommandError> {
    let Some(info) = codes::find(code) else {
        let all = codes::ALL
            .iter()
            .flat_map(|t| t.iter())
            .map(|i| i.code.as_str());
        let hint = lockgate_diag::did_you_mean(code, all).map_or_else(
            || "codes look like `LG0208`".to_owned(),
            |near| format!("did you mean `{near}`"),
        );
        return Err(usage(format!("there is no diagnostic `{code}`"), hint));
    };
    if app.printer.json() {
        return Ok(app.printer.json_document(
            &json!({ "code": info.code.as_str(), "title": info.title, "page": info.page }),
        )?);
    }
    Ok(app
        .printer
        .line(&format!("{}: {}\n\n{}", info.code, info.title, info.page))?)
}
