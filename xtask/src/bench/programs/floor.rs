//! What the SDK costs by itself: the same program against a monitor that answers at once, with no
//! engine behind it. Only the CPU of the program's own process counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use lockgate_diag::Severity;
use lockgate_engine::source::{
    Invocation, InvokeOutcome, MonitorError, ReadResource, Registered, Registration,
};
use lockgate_engine::{Monitor, Source as _};
use lockgate_model::{PropertyMap, Urn, Value};
use lockgate_pulumi::{Language, ProgramSettings, PulumiSource};
use lockgate_testkit::World;

use super::usage;

const PROJECT: &str = "x";
const STACK: &str = "dev";

/// Answers each registration with its inputs and what a random text has besides.
struct AtOnce {
    preview: bool,
}

/// The outputs of a random text that are no inputs here.
const OTHERS: [&str; 9] = [
    "lower",
    "minLower",
    "minNumeric",
    "minSpecial",
    "minUpper",
    "number",
    "numeric",
    "special",
    "upper",
];

#[async_trait]
impl Monitor for AtOnce {
    async fn register(&self, registration: Registration) -> Result<Registered, MonitorError> {
        let parent = registration.options.parent.as_ref();
        let (token, name) = (&registration.type_token, &registration.name);
        let mut outputs = registration.inputs;
        outputs.extend(OTHERS.map(|name| (name.to_owned(), Value::Bool(true))));
        let result = if self.preview {
            Value::Unknown
        } else {
            Value::from("abcdefgh")
        };
        outputs.insert("result".to_owned(), result);
        let id = if self.preview { "" } else { "abcdefgh" };
        Ok(Registered {
            urn: Some(Urn::new(STACK, PROJECT, parent, token, name)),
            id: id.to_owned(),
            id_unknown: self.preview,
            outputs,
        })
    }

    async fn register_outputs(&self, _: Urn, _: PropertyMap) -> Result<(), MonitorError> {
        Ok(())
    }

    async fn read(&self, _: ReadResource) -> Result<Registered, MonitorError> {
        Err(MonitorError::Failed("nothing is read here".to_owned()))
    }

    async fn invoke(&self, _: Invocation) -> Result<InvokeOutcome, MonitorError> {
        Err(MonitorError::Failed("nothing is called here".to_owned()))
    }

    fn log(&self, _: Severity, _: Option<Urn>, _: String) {}

    fn is_preview(&self) -> bool {
        self.preview
    }

    fn stack_urn(&self) -> Urn {
        Urn::new(STACK, PROJECT, None, "pulumi:pulumi:Stack", "x-dev")
    }
}

/// CPU of the program's process for one preview and one update, seconds.
pub(super) fn measure(world: &World, language: Language) -> Result<f64> {
    let before = usage::of_children()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for preview in [true, false] {
        let mut source = PulumiSource::new(settings(world, language))
            .map_err(|diagnostic| anyhow!("{}", diagnostic.message))?;
        runtime.block_on(async {
            source.run(Arc::new(AtOnce { preview })).await?;
            source.finish().await
        })?;
    }
    Ok(usage::of_children()? - before)
}

fn settings(world: &World, language: Language) -> ProgramSettings {
    let env = ["PATH", "HOME"].into_iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some((name.to_owned(), value.to_string_lossy().into_owned()))
    });
    ProgramSettings {
        language,
        project: PROJECT.to_owned(),
        root: world.project(),
        main: None,
        options: BTreeMap::new(),
        stack: STACK.to_owned(),
        organization: "organization".to_owned(),
        config: PropertyMap::new(),
        parallel: super::PARALLEL,
        continue_on_error: false,
        env: env.collect(),
        cache: world.home().join("cache"),
    }
}
