//! Wiring of a run: native packages over images and node, and what their config is made of.

use std::sync::Arc;

use lockgate_config::{Project, StackConfig};
use lockgate_diag::codes;
use lockgate_engine::Providers;
use lockgate_image::{Builder, Engine, Registries, RegistryResolver, RegistrySettings, Store};
use lockgate_model::PropertyMap;
use lockgate_packages::images::{Images, LocalImages};
use lockgate_packages::{Packages, PackagesSettings};
use lockgate_state::secrets::StackFileSecrets;
use lockgate_state::{Backend, SecretsConfig};

use crate::failure::{CommandError, failed, usage};
use crate::lock::LockFile;
use crate::node::adapter::LazyNode;
use crate::node::paths::NodePaths;
use crate::stacks::KeptStacks;
use crate::workspace::{App, config_values, secrets_error};

/// The image side of this machine.
pub(crate) fn images(app: &App) -> Result<Arc<dyn Images>, CommandError> {
    let store = Store::open(&NodePaths::new(&app.environment.home).images()).map_err(|error| {
        failed(
            codes::image::STORE,
            "the image store cannot be opened",
            &error,
        )
    })?;
    let settings = RegistrySettings {
        docker_config: app.environment.docker_config.clone(),
        helper_env: app.environment.helper.clone(),
        ..RegistrySettings::default()
    };
    let registries = Registries::new(settings, Arc::clone(&app.clock), Arc::clone(&app.rng));
    let resolver = Arc::new(RegistryResolver::new(registries));
    let cache = app.environment.home.join("cache");
    let bases = Arc::clone(&resolver);
    let mut builder = Builder::new(store, cache, bases, Arc::clone(&app.clock));
    if let Some(socket) = &app.environment.docker_socket {
        builder = builder.with_engine(Engine::new(socket.clone()));
    }
    let images = LocalImages::new(builder, resolver, Arc::clone(&app.clock));
    Ok(Arc::new(images))
}

/// The native packages of a project.
pub(crate) fn providers(
    app: &App,
    project: &Project,
    backend: &Arc<Backend>,
) -> Result<Arc<dyn Providers>, CommandError> {
    Ok(Arc::new(Packages::new(PackagesSettings {
        project_dir: project.root.clone(),
        base_env: app.environment.child.iter().cloned().collect(),
        clock: Arc::clone(&app.clock),
        rng: Arc::clone(&app.rng),
        images: images(app)?,
        lock: Arc::new(LockFile::new(project, Arc::clone(&app.clock))),
        node: Arc::new(LazyNode::new(app.environment.clone(), app.printer.clone())),
        stacks: Arc::new(KeptStacks::new(Arc::clone(backend))),
    })))
}

/// The config of a stack that does not exist yet: its file may name the manager of its secrets.
pub(crate) fn plain_config(
    file: &StackConfig,
    backend: &Backend,
) -> Result<PropertyMap, CommandError> {
    let stack_file = StackFileSecrets {
        provider: file.secrets_provider.clone(),
        salt: file.encryption_salt.clone(),
    };
    match SecretsConfig::from_stack_file(&stack_file).map_err(|e| secrets_error(&e))? {
        Some(named) => {
            let secrets = backend
                .keyring()
                .open(&named)
                .map_err(|e| secrets_error(&e))?;
            config_values(file, &secrets)
        }
        None if file
            .values
            .values()
            .any(lockgate_config::ConfigValue::is_secret) =>
        {
            Err(usage(
                "the stack file has secrets, but the stack does not exist here",
                "run `lockgate stack init` with the key or passphrase it was made with",
            ))
        }
        None => Ok(file
            .values
            .iter()
            .filter_map(|(key, value)| {
                let mut never = |_: &str| Err::<String, ()>(());
                Some((key.clone(), value.resolve(&mut never).ok()?))
            })
            .collect()),
    }
}
