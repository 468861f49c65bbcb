//! What a command works with, resolved once from flags and environment. Nothing below reads a
//! variable. Every variable Lockgate reads is listed here.

use std::path::{Path, PathBuf};

use lockgate_diag::Secret;

use crate::cli::Global;
use crate::failure::{CommandError, usage};

/// The folder of everything Lockgate keeps on this machine.
pub(crate) const VAR_HOME: &str = "LOCKGATE_HOME";
/// The passphrase of stacks that use one; also `PULUMI_CONFIG_PASSPHRASE`.
pub(crate) const VAR_PASSPHRASE: &str = "LOCKGATE_PASSPHRASE";
/// A file that holds the passphrase; also `PULUMI_CONFIG_PASSPHRASE_FILE`.
pub(crate) const VAR_PASSPHRASE_FILE: &str = "LOCKGATE_PASSPHRASE_FILE";

/// Variables that child commands of a program inherit. Everything else stays out, so that a
/// deployment depends on its inputs and not on the shell it was started from.
const CHILD_VARS: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TERM",
    "TMPDIR",
    "SHELL",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Where Docker Engines listen.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Variables that programs with credentials need to find their key ring.
const HELPER_VARS: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// The environment as it was when the process began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) home: PathBuf,
    pub(crate) no_color: bool,
    /// A desktop is there to show a browser on.
    pub(crate) desktop: bool,
    pub(crate) passphrase: Option<Secret<String>>,
    pub(crate) child: Vec<(String, String)>,
    /// Docker's `config.json`, for credentials of registries.
    pub(crate) docker_config: Option<PathBuf>,
    /// Socket of the Docker Engine that builds images with RUN.
    pub(crate) docker_socket: Option<PathBuf>,
    /// The environment of programs that hold those credentials.
    pub(crate) helper: Vec<(String, String)>,
    /// Names a fault point at which a test wants this process to die; see `testkit`.
    pub(crate) fault: Option<String>,
}

/// Reads one variable. The only place that does.
#[expect(clippy::disallowed_methods, reason = "settings are read once, here")]
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Environment {
    /// Reads every variable once.
    pub(crate) fn read() -> Result<Self, CommandError> {
        let passphrase = match var(VAR_PASSPHRASE).or_else(|| var("PULUMI_CONFIG_PASSPHRASE")) {
            Some(text) => Some(Secret::new(text)),
            None => match var(VAR_PASSPHRASE_FILE).or_else(|| var("PULUMI_CONFIG_PASSPHRASE_FILE"))
            {
                Some(path) => {
                    let text = fs_err::read_to_string(path)?;
                    Some(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
                }
                None => None,
            },
        };
        Ok(Self {
            home: home_folder()?,
            no_color: var("NO_COLOR").is_some(),
            desktop: var("DISPLAY").or_else(|| var("WAYLAND_DISPLAY")).is_some(),
            passphrase,
            child: pick(CHILD_VARS),
            docker_config: docker_config(),
            docker_socket: docker_socket(),
            helper: pick(HELPER_VARS),
            fault: var("LOCKGATE_TEST_FAULT"),
        })
    }
}

/// Those of `names` that are set.
fn pick(names: &[&str]) -> Vec<(String, String)> {
    let set = |name: &&str| Some(((*name).to_owned(), var(name)?));
    names.iter().filter_map(set).collect()
}

/// `DOCKER_CONFIG`, else `.docker` in the home folder, as Docker has it.
fn docker_config() -> Option<PathBuf> {
    let folder = var("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&var("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

/// `DOCKER_HOST`, which must be a Unix socket, else the usual place.
fn docker_socket() -> Option<PathBuf> {
    match var("DOCKER_HOST") {
        None => Some(PathBuf::from(DOCKER_SOCKET)),
        // Another kind of address counts as none: builds with RUN say what they miss.
        Some(host) => host.strip_prefix("unix://").map(PathBuf::from),
    }
}

/// `LOCKGATE_HOME`, else the XDG data folder (XDG Base Directory Specification).
fn home_folder() -> Result<PathBuf, CommandError> {
    if let Some(home) = var(VAR_HOME) {
        return Ok(std::path::absolute(home)?);
    }
    if let Some(data) = var("XDG_DATA_HOME") {
        return Ok(Path::new(&data).join("lockgate"));
    }
    match var("HOME") {
        Some(home) => Ok(Path::new(&home).join(".local/share/lockgate")),
        None => Err(usage(
            "neither LOCKGATE_HOME nor HOME is set",
            "set LOCKGATE_HOME to a folder",
        )),
    }
}

/// The folder that a command works in.
pub(crate) fn working_folder(global: &Global) -> Result<PathBuf, CommandError> {
    let current = std::env::current_dir()?;
    let Some(folder) = &global.cwd else {
        return Ok(current);
    };
    let folder = current.join(folder);
    if !folder.is_dir() {
        return Err(usage(
            format!("`{}` is not a folder", folder.display()),
            "give `--cwd` the folder of a project",
        ));
    }
    Ok(folder)
}
