//! What most commands stand on: the project, the stack, where it is kept, its config in clear.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_config::{Project, StackConfig};
use lockgate_diag::{Diagnostic, codes, did_you_mean};
use lockgate_model::{Clock, Digest, PropertyMap, Rng, Value};
use lockgate_state::secrets::StackFileSecrets;
use lockgate_state::{Backend, Keyring, SecretsConfig, SecretsManager, StackName};

use crate::cli::Global;
use crate::failure::{CommandError, usage};
use crate::printer::Printer;
use crate::settings::{self, Environment};
use crate::system::{SystemClock, SystemRng};

/// The stack that `up` makes when a project has none.
pub(crate) const FIRST_STACK: &str = "dev";

/// Everything a command knows from the start.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) environment: Environment,
    pub(crate) printer: Printer,
    pub(crate) folder: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl App {
    /// Resolves flags and environment.
    pub(crate) fn new(
        global: Global,
        environment: Environment,
        printer: Printer,
    ) -> Result<Self, CommandError> {
        let folder = settings::working_folder(&global)?;
        Ok(Self {
            global,
            environment,
            printer,
            folder,
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
        })
    }

    /// The project of the working folder or the nearest folder above it.
    pub(crate) fn project(&self) -> Result<Project, CommandError> {
        let Some(path) = lockgate_config::find_project(&self.folder) else {
            return Err(usage(
                format!(
                    "there is no Pulumi.yaml in `{}` or above it",
                    self.folder.display()
                ),
                "make a project with `lockgate new hello my-app`, or give `--cwd`",
            ));
        };
        let (project, diagnostics) = lockgate_config::load_project(&path);
        self.need(project, diagnostics)
    }

    /// The value, unless there were errors; warnings are printed.
    pub(crate) fn need<T>(
        &self,
        value: Option<T>,
        diagnostics: Vec<Diagnostic>,
    ) -> Result<T, CommandError> {
        match value {
            Some(value) if !diagnostics.iter().any(Diagnostic::is_error) => {
                self.printer.diagnostics(&diagnostics);
                Ok(value)
            }
            _ => Err(CommandError::Usage(diagnostics)),
        }
    }

    /// Where the stacks of a project are kept: `backend.url`, else the home folder.
    pub(crate) fn backend(&self, project: &Project) -> Result<Backend, CommandError> {
        let root = match project.backend_url.as_deref() {
            None | Some("file://" | "file://~") => self.environment.home.join("state"),
            Some(url) => match url.strip_prefix("file://") {
                Some(path) => project.root.join(path),
                None => {
                    return Err(usage(
                        format!("the backend `{url}` is not supported"),
                        "use a `file://` URL, or leave `backend` out to keep stacks under LOCKGATE_HOME",
                    ));
                }
            },
        };
        let keyring = Keyring::new(
            &self.environment.home,
            self.environment.passphrase.clone(),
            Arc::clone(&self.rng),
        );
        let backend = Backend::open(&root, Arc::new(keyring), Arc::clone(&self.clock))
            .map_err(|e| state_error(&e))?;
        Ok(backend.with_fault_hook(crate::fault::hook(self.environment.fault.as_deref())))
    }

    /// The stack the command works on, which may not exist yet.
    pub(crate) fn stack_name(
        &self,
        project: &Project,
        backend: &Backend,
    ) -> Result<StackName, CommandError> {
        let chosen = match &self.global.stack {
            Some(name) => Some(name.clone()),
            None => self.selected(project),
        };
        if let Some(name) = chosen {
            // `organization/project/stack` and `project/stack` name the same stack here.
            let short = name.rsplit('/').next().unwrap_or(&name);
            return StackName::new(&project.name, short).map_err(|e| state_error(&e));
        }
        let stacks = backend
            .list_stacks(Some(&project.name))
            .map_err(|e| state_error(&e))?;
        match stacks.as_slice() {
            [] => StackName::new(&project.name, FIRST_STACK).map_err(|e| state_error(&e)),
            [only] => Ok(only.name.clone()),
            several => {
                let names: Vec<&str> = several.iter().map(|s| s.name.stack()).collect();
                Err(usage(
                    format!("no stack is selected; there are {}", names.join(", ")),
                    format!(
                        "run `lockgate stack select {}`, or give `--stack`",
                        names[0]
                    ),
                ))
            }
        }
    }

    /// The project, its backend and the stack of a command that works on an existing one.
    pub(crate) fn opened(&self) -> Result<(Project, Backend, StackName), CommandError> {
        let project = self.project()?;
        let backend = self.backend(&project)?;
        let stack = self.existing_stack(&project, &backend)?;
        Ok((project, backend, stack))
    }

    /// The stack of the command; an error with near names when it does not exist.
    pub(crate) fn existing_stack(
        &self,
        project: &Project,
        backend: &Backend,
    ) -> Result<StackName, CommandError> {
        let name = self.stack_name(project, backend)?;
        if backend.exists(&name) {
            return Ok(name);
        }
        let stacks = backend
            .list_stacks(Some(&project.name))
            .map_err(|e| state_error(&e))?;
        let near = did_you_mean(name.stack(), stacks.iter().map(|s| s.name.stack()));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`"),
            None => format!("run `lockgate stack init {}`", name.stack()),
        };
        Err(usage(format!("there is no stack `{name}`"), hint))
    }

    fn selection_path(&self, project: &Project) -> PathBuf {
        let key = Digest::of(project.root.as_os_str().as_encoded_bytes()).hex();
        self.environment.home.join("selected").join(&key[..32])
    }

    /// The selected stack of the project's folder.
    pub(crate) fn selected(&self, project: &Project) -> Option<String> {
        let text = fs_err::read_to_string(self.selection_path(project)).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// Selects a stack for later commands in this folder; `None` forgets the selection.
    pub(crate) fn select(
        &self,
        project: &Project,
        stack: Option<&str>,
    ) -> Result<(), CommandError> {
        let path = self.selection_path(project);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        Ok(lockgate_config::write_atomic(
            &path,
            stack.unwrap_or_default().as_bytes(),
        )?)
    }

    /// Path of the stack's config file.
    pub(crate) fn stack_file(&self, project: &Project, stack: &StackName) -> PathBuf {
        lockgate_config::stack::stack_path(
            &project.root,
            project.stack_config_dir.as_deref(),
            stack.stack(),
        )
    }

    /// The stack's config file; empty when there is none.
    pub(crate) fn stack_config(&self, path: &Path) -> Result<StackConfig, CommandError> {
        let (config, diagnostics) = StackConfig::load(path);
        self.need(config, diagnostics)
    }
}

/// The manager of the secrets in a stack file: the one the file names, else the stack's own.
pub(crate) fn config_secrets(
    config: &StackConfig,
    backend: &Backend,
    own: &SecretsManager,
) -> Result<SecretsManager, CommandError> {
    let file = StackFileSecrets {
        provider: config.secrets_provider.clone(),
        salt: config.encryption_salt.clone(),
    };
    let named = SecretsConfig::from_stack_file(&file).map_err(|e| secrets_error(&e))?;
    match named {
        Some(named) => backend
            .keyring()
            .open(&named)
            .map_err(|e| secrets_error(&e)),
        None => Ok(own.clone()),
    }
}

/// Every config value in clear, secret ones wrapped.
pub(crate) fn config_values(
    config: &StackConfig,
    secrets: &SecretsManager,
) -> Result<PropertyMap, CommandError> {
    let mut values = PropertyMap::new();
    for (key, value) in &config.values {
        let mut decrypt = |cell: &str| {
            secrets
                .decrypt(cell)
                .map(lockgate_diag::Secret::into_exposed)
        };
        values.insert(
            key.clone(),
            value.resolve(&mut decrypt).map_err(|e| secrets_error(&e))?,
        );
    }
    Ok(values)
}

/// Config by package: what default providers are configured with.
pub(crate) fn package_config(values: &PropertyMap) -> BTreeMap<String, PropertyMap> {
    let mut packages: BTreeMap<String, PropertyMap> = BTreeMap::new();
    for (key, value) in values {
        if let Some((package, name)) = key.split_once(':') {
            let value: Value = value.clone();
            packages
                .entry(package.to_owned())
                .or_default()
                .insert(name.to_owned(), value);
        }
    }
    packages
}

/// A state error as the failure of a command.
pub(crate) fn state_error(error: &lockgate_state::StateError) -> CommandError {
    CommandError::Failed(vec![error.to_diagnostic()])
}

/// A secrets error as a usage failure: nearly always a passphrase.
pub(crate) fn secrets_error(error: &lockgate_state::SecretsError) -> CommandError {
    let mut diagnostic = Diagnostic::error(codes::state::SECRETS, error.to_string());
    if let Some(source) = std::error::Error::source(error) {
        diagnostic = diagnostic.caused_by(source);
    }
    if let Some(hint) = error.hint() {
        diagnostic = diagnostic.hint(hint);
    }
    CommandError::Usage(vec![diagnostic])
}
