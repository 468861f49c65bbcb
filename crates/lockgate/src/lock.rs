//! `lockgate.lock` of a project, as the packages see it.

use std::path::PathBuf;
use std::sync::Arc;

use lockgate_config::Project;
use lockgate_config::lock::{Lock, Pin};
use lockgate_diag::{Diagnostic, SourceFile, codes};
use lockgate_model::{Clock, ImageReference};
use lockgate_packages::images::parse_time;
use lockgate_packages::pins::{Locked, PinLock, PinRule, PinSpec};
use parking_lot::Mutex;

use crate::failure::CommandError;

const FILE_NAME: &str = "lockgate.lock";

/// The file. It is read anew each time: `lockgate pin` and editors may change it beside us.
pub(crate) struct LockFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// Pins are recorded in parallel, the file is written whole.
    writing: Mutex<()>,
}

impl LockFile {
    /// The lock of `project`; the file need not exist.
    pub(crate) fn new(project: &Project, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: project.root.join(FILE_NAME),
            clock,
            writing: Mutex::new(()),
        }
    }

    /// All entries, or every mistake of the file.
    pub(crate) fn load(&self) -> Result<Lock, Vec<Diagnostic>> {
        let text = match fs_err::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| {
                vec![Diagnostic::error(
                    codes::settings::FILE_UNREADABLE,
                    error.to_string(),
                )]
            })?,
        };
        let name = self.path.display().to_string();
        let (lock, diagnostics) = Lock::parse(&SourceFile::new(name, text));
        lock.ok_or(diagnostics)
    }

    fn change(&self, spec: &PinSpec, locked: &Locked) -> Result<(), CommandError> {
        let _writing = self.writing.lock();
        let mut lock = self.load().map_err(CommandError::Usage)?;
        let rule = &spec.rule;
        let mut pin = Pin::new(
            locked.digest,
            locked.platforms.clone(),
            self.clock.now().to_string(),
            rule.name().to_owned(),
        );
        let created = locked.created.map(|created| created.to_string());
        let fields = [
            ("tag", locked.tag.as_deref()),
            ("range", rule.range()),
            ("filter", rule.filter()),
            ("extract", rule.extract()),
            ("minAge", rule.min_age_text()),
            ("created", created.as_deref()),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                pin = pin.with_field(name, value);
            }
        }
        lock.images.insert(spec.key(), pin);
        Ok(lock.save(&self.path)?)
    }
}

/// What an entry pins, read back from its key and fields; the error says what is wrong with it.
pub(crate) fn spec_of(key: &str, pin: &Pin) -> Result<PinSpec, String> {
    let reference = key.split(' ').next().unwrap_or_default();
    let image = ImageReference::parse(reference).map_err(|error| error.to_string())?;
    let rule = PinRule::new(
        &pin.rule,
        pin.field("range"),
        pin.field("filter"),
        pin.field("extract"),
    )
    .and_then(|rule| rule.with_min_age(pin.field("minAge")));
    let rule = rule.map_err(|(field, reason)| format!("pin of `{key}`: `{field}` {reason}"))?;
    Ok(PinSpec { image, rule })
}

/// What an entry says.
pub(crate) fn locked_of(pin: &Pin) -> Locked {
    Locked {
        tag: pin.field("tag").map(str::to_owned),
        digest: pin.digest,
        platforms: pin.platforms.clone(),
        created: pin.field("created").and_then(parse_time),
    }
}

impl PinLock for LockFile {
    fn find(&self, spec: &PinSpec) -> Result<Option<Locked>, String> {
        let lock = self.load().map_err(|found| words(&found))?;
        let same = |pin: &&Pin| {
            pin.rule == spec.rule.name()
                && pin.field("range") == spec.rule.range()
                && pin.field("filter") == spec.rule.filter()
                && pin.field("extract") == spec.rule.extract()
                && pin.field("minAge") == spec.rule.min_age_text()
        };
        Ok(lock.images.get(&spec.key()).filter(same).map(locked_of))
    }

    fn record(&self, spec: &PinSpec, locked: &Locked) -> Result<(), String> {
        self.change(spec, locked).map_err(|error| match error {
            CommandError::Usage(found) | CommandError::Failed(found) => words(&found),
            _ => format!("write `{}`", self.path.display()),
        })
    }
}

fn words(diagnostics: &[Diagnostic]) -> String {
    let texts: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    format!("{FILE_NAME}: {}", texts.join("; "))
}
