//! `lockgate pin`: what is locked, what the registries say now, and taking that over.

use std::collections::BTreeMap;

use lockgate_diag::{Diagnostic, codes, did_you_mean};
use lockgate_image::OsArch;
use lockgate_model::Digest;
use lockgate_packages::images::{Images, ImagesError};
use lockgate_packages::pins::{Locked, PinLock as _, PinSpec, Pins, Young};
use serde_json::{Value as Json, json};

use crate::cli::Pin as Args;
use crate::failure::{CommandError, usage};
use crate::lock::{LockFile, locked_of, spec_of};
use crate::packages;
use crate::workspace::App;

/// Machine of an entry that names none.
const OS_ARCH: &str = "linux/amd64";
/// Hex digits that tell digests apart in a table.
const SHORT: usize = 12;

/// A pin and what it would be today.
struct Row {
    key: String,
    spec: PinSpec,
    locked: Locked,
    now: Locked,
    /// Better tags that are not taken yet.
    young: Vec<Young>,
}

impl Row {
    fn state(&self) -> &'static str {
        if self.locked.digest == self.now.digest {
            "same"
        } else {
            "moved"
        }
    }
}

/// Compares the lock with the registries; with `--update` the lock follows them.
pub(crate) async fn run(app: &App, args: &Args) -> Result<(), CommandError> {
    let project = app.project()?;
    let file = std::sync::Arc::new(LockFile::new(&project, std::sync::Arc::clone(&app.clock)));
    let lock = file.load().map_err(CommandError::Usage)?;
    let images = packages::images(app)?;
    let pins = Pins::new(
        std::sync::Arc::clone(&images),
        std::sync::Arc::clone(&file) as _,
        std::sync::Arc::clone(&app.clock),
    );
    let mut rows = Vec::new();
    for (key, pin) in &lock.images {
        let spec = spec_of(key, pin).map_err(bad_lock)?;
        let wanted = args.name.as_deref().is_none_or(|name| names(&spec, name));
        if wanted {
            let locked = locked_of(pin);
            let now = resolve(&pins, images.as_ref(), &spec, &locked).await;
            let (now, young) = now.map_err(|error| failed(key, &error))?;
            rows.push(Row {
                key: key.clone(),
                spec,
                locked,
                now,
                young,
            });
        }
    }
    if let (true, Some(name)) = (rows.is_empty(), &args.name) {
        let near = did_you_mean(name, lock.images.keys().map(String::as_str));
        let hint = near.map_or_else(
            || "run `lockgate pin` to see all; `lockgate up` adds new ones".to_owned(),
            |near| format!("did you mean `{near}`"),
        );
        return Err(usage(format!("no pin of the lock is named `{name}`"), hint));
    }
    print(app, &rows)?;
    let moved: Vec<&Row> = rows.iter().filter(|row| row.state() == "moved").collect();
    if args.update {
        for row in &moved {
            file.record(&row.spec, &row.now).map_err(bad_lock)?;
        }
        app.printer.say(&format!(
            "{} of {} pins updated; review the change of `lockgate.lock`, then run `lockgate up`",
            moved.len(),
            rows.len()
        ));
    } else if !moved.is_empty() {
        app.printer
            .say("run `lockgate pin --update` to take over what moved");
    }
    Ok(())
}

/// A pin is named by its key, its reference, its repository, or the last part of that.
fn names(spec: &PinSpec, name: &str) -> bool {
    let image = &spec.image;
    let repository = format!("{}/{}", image.registry, image.repository);
    let last = image.repository.rsplit('/').next().unwrap_or_default();
    [spec.key(), image.to_string(), repository]
        .iter()
        .any(|n| n == name)
        || last == name
}

/// What the pin would be today, for every machine the entry knows, and what is too young for it.
/// Where nothing is old enough, it stays what it is.
async fn resolve(
    pins: &Pins,
    images: &dyn Images,
    spec: &PinSpec,
    locked: &Locked,
) -> Result<(Locked, Vec<Young>), ImagesError> {
    let mut names: Vec<&str> = locked.platforms.keys().map(String::as_str).collect();
    if names.is_empty() {
        names.push(OS_ARCH);
    }
    let mut parsed = Vec::new();
    for name in names {
        parsed.push(OsArch::parse(name).map_err(|error| ImagesError {
            message: error.to_string(),
            hints: Vec::new(),
        })?);
    }
    let (mut now, young) = match pins.resolve_anew(spec, &parsed[0]).await? {
        Ok(pinned) => (pinned.locked, pinned.young),
        Err(young) => return Ok((locked.clone(), young)),
    };
    let pinned = spec.image.with_digest(now.digest);
    let mut platforms: BTreeMap<String, Digest> = BTreeMap::new();
    for os_arch in &parsed {
        let found = images.resolve(&pinned, os_arch).await?;
        platforms.insert(os_arch.to_string(), found.manifest);
    }
    now.platforms = platforms;
    Ok((now, young))
}

fn print(app: &App, rows: &[Row]) -> Result<(), CommandError> {
    if app.printer.json() {
        let rows: Vec<Json> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.key, "rule": row.spec.rule.name(), "state": row.state(),
                    "locked": row.locked.digest.to_string(), "lockedTag": row.locked.tag,
                    "now": row.now.digest.to_string(), "nowTag": row.now.tag,
                    "young": row.young.iter().map(Young::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        return Ok(app.printer.json_document(&json!({ "pins": rows }))?);
    }
    let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
    let side = |pin: &Locked| {
        let hex = pin.digest.hex();
        format!("{}@{}", pin.tag.as_deref().unwrap_or(""), &hex[..SHORT])
    };
    for row in rows {
        let mut line = format!(
            "{:<width$}  {:<5}  {}",
            row.key,
            row.state(),
            side(&row.locked)
        );
        if row.state() == "moved" {
            line.push_str(&format!(" now {}", side(&row.now)));
        }
        app.printer.line(&line)?;
        for young in &row.young {
            app.printer.say(&format!("{}: {young}", row.key));
        }
    }
    if rows.is_empty() {
        app.printer
            .say("nothing is pinned yet; `lockgate up` writes `lockgate.lock`");
    }
    Ok(())
}

fn bad_lock(message: String) -> CommandError {
    CommandError::Usage(vec![Diagnostic::error(codes::settings::BAD_LOCK, message)])
}

fn failed(key: &str, error: &ImagesError) -> CommandError {
    let message = format!("pin `{key}` cannot be resolved");
    let mut diagnostic = Diagnostic::error(codes::image::REGISTRY, message).cause(&error.message);
    for hint in &error.hints {
        diagnostic = diagnostic.hint(hint.clone());
    }
    CommandError::Failed(vec![diagnostic])
}
