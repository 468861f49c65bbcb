//! What differs between languages: where interpreter and SDK are, how a program is started, how
//! its packages are installed.

mod nodejs;
mod python;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lockgate_diag::{Diagnostic, Secret, codes};
use lockgate_model::{Digest, Value};

use crate::monitor::Deployment;
use crate::process::Launch;

/// Text of the one next step for anything that is not installed.
const INSTALL_HINT: &str = "run `lockgate install`";

/// A language whose programs run through the published SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `runtime: python`.
    Python,
    /// `runtime: nodejs`: JavaScript and TypeScript.
    Nodejs,
}

impl Language {
    /// The language of a runtime name of `Pulumi.yaml`.
    pub fn of(runtime: &str) -> Option<Self> {
        match runtime {
            "python" => Some(Self::Python),
            "nodejs" => Some(Self::Nodejs),
            _ => None,
        }
    }
}

/// Where a program is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The project folder.
    pub(crate) root: PathBuf,
    /// The folder it runs in.
    pub(crate) folder: PathBuf,
    /// What to run there; `.` means the folder itself.
    pub(crate) entry: String,
}

impl Place {
    /// Of a project in `root` with the given `main`, a folder or file.
    pub(crate) fn new(root: &Path, main: Option<&str>) -> Self {
        let root = root.to_path_buf();
        let whole = root.join(main.unwrap_or_default());
        let split = whole.is_file().then(|| (whole.parent(), whole.file_name()));
        let (folder, entry) = match split {
            Some((Some(folder), Some(file))) => {
                (folder.to_path_buf(), file.to_string_lossy().into_owned())
            }
            // Rebuilt from its components: without a slash at the end.
            _ => (whole.components().collect(), ".".to_owned()),
        };
        Self {
            root,
            folder,
            entry,
        }
    }
}

/// The options of a runtime, as `Pulumi.yaml` has them.
pub(crate) type RuntimeOptions = BTreeMap<String, Value>;

fn option<'o>(options: &'o RuntimeOptions, name: &str) -> Option<&'o str> {
    options
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// An interpreter with the SDK, found and ready to start.
#[derive(Clone, Debug)]
pub(crate) enum Toolchain {
    Python(python::Python),
    Nodejs(nodejs::Nodejs),
}

impl Toolchain {
    /// Finds interpreter and SDK. `env` is the environment that the program will have.
    pub(crate) fn find(
        language: Language,
        place: &Place,
        options: &RuntimeOptions,
    ) -> Result<Self, Box<Diagnostic>> {
        match language {
            Language::Python => python::find(place, options).map(Self::Python),
            Language::Nodejs => nodejs::find(place, options).map(Self::Nodejs),
        }
    }

    /// Whether a program that ends well says so before it ends.
    pub(crate) const fn signals_end(&self) -> bool {
        match self {
            Self::Python(python) => python.signals_end,
            Self::Nodejs(nodejs) => nodejs.signals_end,
        }
    }

    /// The start of a program.
    pub(crate) fn launch(&self, start: &Start<'_>) -> std::io::Result<Launch> {
        match self {
            Self::Python(python) => python.launch(start),
            Self::Nodejs(nodejs) => nodejs.launch(start),
        }
    }
}

/// What a start needs besides the toolchain.
pub(crate) struct Start<'s> {
    pub(crate) place: &'s Place,
    pub(crate) deployment: &'s Deployment,
    pub(crate) address: SocketAddr,
    pub(crate) preview: bool,
    /// The environment that the program inherits.
    pub(crate) env: &'s [(String, String)],
    /// Folder for files that Lockgate itself brings.
    pub(crate) cache: &'s Path,
}

impl Start<'_> {
    /// The config document that the start files of all languages read.
    fn input(&self) -> Secret<String> {
        let document = serde_json::json!({
            "config": self.deployment.config.expose(),
            "secretKeys": self.deployment.secret_keys,
        });
        Secret::new(document.to_string())
    }

    /// Writes a file that Lockgate brings, unless it is there. Its folder is named after its
    /// content, so that versions of Lockgate do not disturb each other.
    fn bring(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let digest = Digest::of(text.as_bytes()).hex();
        let folder = self.cache.join("launch").join(&digest[..16]);
        let path = folder.join(name);
        if fs_err::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(path);
        }
        fs_err::create_dir_all(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }
}

/// One command of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
}

/// The commands that install the packages of a project, in order. `main` and `options` are those
/// of the project file.
pub fn install(
    language: Language,
    root: &Path,
    main: Option<&str>,
    options: &BTreeMap<String, Value>,
) -> Result<Vec<Install>, Box<Diagnostic>> {
    let place = Place::new(root, main);
    match language {
        Language::Python => python::install(&place, options),
        Language::Nodejs => nodejs::install(&place, options),
    }
}

/// The nearest folder from `start` up to `root` that has `name`.
fn nearest(start: &Path, root: &Path, name: &str) -> Option<PathBuf> {
    start
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .find(|folder| folder.join(name).exists())
        .map(Path::to_path_buf)
}

fn missing(message: impl Into<String>) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(
        codes::program::TOOLCHAIN_MISSING,
        message,
    ))
}

#[cfg(test)]
mod tests;
