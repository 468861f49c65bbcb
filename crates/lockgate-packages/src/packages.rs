//! Finds packages by name and configures them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::did_you_mean;
use lockgate_engine::provider::{Provider, ProviderError, Providers};
use lockgate_model::schema::PackageSchema;
use lockgate_model::{Clock, PropertyMap, Rng};

use crate::command::{self, CommandSettings};
use crate::images::Images;
use crate::node::Node;
use crate::pins::PinLock;
use crate::stacks::Stacks;
use crate::{lockgate, pulumi, random, schema};

/// Everything the packages need from outside.
pub struct PackagesSettings {
    /// Project folder; relative paths of programs start here.
    pub project_dir: PathBuf,
    /// The whole environment that scripts inherit; an allow-list of the binary's own.
    pub base_env: BTreeMap<String, String>,
    /// Tells the age of images.
    pub clock: Arc<dyn Clock>,
    /// Randomness; the operating system's outside tests, as passwords and keys come from it.
    pub rng: Arc<dyn Rng>,
    /// Builders, store, gates and registries.
    pub images: Arc<dyn Images>,
    /// The lock of the project's pins.
    pub lock: Arc<dyn PinLock>,
    /// The node that services and routes go to.
    pub node: Arc<dyn Node>,
    /// The stacks that programs refer to.
    pub stacks: Arc<dyn Stacks>,
}

/// The native packages: `command`, `lockgate`, `pulumi` and `random`.
pub struct Packages {
    settings: PackagesSettings,
}

impl Packages {
    /// The packages over `settings`. Touches nothing.
    pub fn new(settings: PackagesSettings) -> Self {
        Self { settings }
    }
}

/// The schema of a native package.
fn find_schema(package: &str) -> Option<&'static Arc<PackageSchema>> {
    match package {
        "command" => Some(&schema::COMMAND),
        "lockgate" => Some(&schema::LOCKGATE),
        "pulumi" => Some(&schema::PULUMI),
        "random" => Some(&schema::RANDOM),
        _ => None,
    }
}

const NAMES: [&str; 4] = ["command", "lockgate", "pulumi", "random"];

#[async_trait]
impl Providers for Packages {
    fn schema(&self, package: &str) -> Option<Arc<PackageSchema>> {
        find_schema(package).map(Arc::clone)
    }

    fn packages(&self) -> Vec<String> {
        NAMES.map(str::to_owned).into()
    }

    async fn configure(
        &self,
        package: &str,
        _version: Option<&str>,
        config: &PropertyMap,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let settings = &self.settings;
        let package = match package {
            "command" => command::package(CommandSettings {
                base_env: settings.base_env.clone(),
                project_dir: settings.project_dir.clone(),
            }),
            "lockgate" => {
                let hands = lockgate::Hands {
                    images: Arc::clone(&settings.images),
                    lock: Arc::clone(&settings.lock),
                    node: Arc::clone(&settings.node),
                    clock: Arc::clone(&settings.clock),
                    rng: Arc::clone(&settings.rng),
                    project_dir: settings.project_dir.clone(),
                };
                lockgate::package(&hands, config)?
            }
            "pulumi" => pulumi::package(&settings.stacks),
            "random" => random::package(&settings.rng),
            other => {
                let hint = match did_you_mean(other, NAMES) {
                    Some(near) => format!("did you mean `{near}`"),
                    None => format!("packages are {}", NAMES.join(", ")),
                };
                return Err(ProviderError::Failed {
                    message: format!("there is no package `{other}`"),
                    hints: vec![hint],
                });
            }
        };
        Ok(Arc::new(package))
    }
}
