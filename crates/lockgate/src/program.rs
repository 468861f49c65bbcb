//! The program of a project as a source of the engine, whatever its language.

use std::sync::{Arc, OnceLock};

use lockgate_config::Project;
use lockgate_diag::{Diagnostic, codes};
use lockgate_engine::{Providers, Source};
use lockgate_model::PropertyMap;
use lockgate_pulumi::{Language, ProgramSettings, PulumiSource};
use lockgate_state::StackName;
use lockgate_yaml::YamlSource;

use crate::cli::Run;
use crate::failure::CommandError;
use crate::workspace::App;

/// The organization of every stack that is not kept by a service.
const ORGANIZATION: &str = "organization";

/// The program of a project, ready to run once. `config` is that of the stack, in clear.
/// `yaml_once` keeps a checked YAML program for the session.
pub(crate) fn source(
    app: &App,
    args: &Run,
    project: &Project,
    stack: &StackName,
    config: PropertyMap,
    providers: &Arc<dyn Providers>,
    yaml_once: &OnceLock<YamlSource>,
) -> Result<Box<dyn Source>, CommandError> {
    if let Err(diagnostic) = project.check_required_version() {
        return Err(CommandError::Usage(vec![*diagnostic]));
    }
    if project.runtime.name == "yaml" {
        // The run after the question is of the program that was shown, whatever the file says by
        // then; and it is parsed and warned about once.
        if let Some(source) = yaml_once.get() {
            return Ok(Box::new(source.clone()));
        }
        let source = yaml(app, project, stack, config, providers)?;
        return Ok(Box::new(yaml_once.get_or_init(|| source).clone()));
    }
    let language = language(project)?;
    let settings = ProgramSettings {
        language,
        project: project.name.clone(),
        root: project.root.clone(),
        main: project.main.clone(),
        options: project.runtime.options.clone(),
        stack: stack.stack().to_owned(),
        organization: ORGANIZATION.to_owned(),
        config: with_declared(project, config)?,
        parallel: args.parallel,
        continue_on_error: args.continue_on_error,
        env: app.environment.child.clone(),
        cache: app.environment.home.join("cache"),
    };
    match PulumiSource::new(settings) {
        Ok(source) => Ok(Box::new(source)),
        Err(diagnostic) => Err(CommandError::Usage(vec![*diagnostic])),
    }
}

fn yaml(
    app: &App,
    project: &Project,
    stack: &StackName,
    config: PropertyMap,
    providers: &Arc<dyn Providers>,
) -> Result<YamlSource, CommandError> {
    match lockgate_yaml::load(
        &project.root,
        project,
        stack.stack(),
        config,
        providers,
        ORGANIZATION,
    ) {
        Ok(loaded) => {
            app.printer.diagnostics(&loaded.warnings);
            Ok(loaded.source)
        }
        Err(diagnostics) => Err(CommandError::Usage(diagnostics)),
    }
}

/// The language of a project that runs through an SDK.
pub(crate) fn language(project: &Project) -> Result<Language, CommandError> {
    Language::of(&project.runtime.name).ok_or_else(|| {
        let text = format!("runtime `{}` is not supported", project.runtime.name);
        let diagnostic = Diagnostic::error(codes::settings::USAGE, text)
            .at(&project.file, project.runtime.span, "")
            .hint("use `yaml`, `python` or `nodejs`");
        CommandError::Usage(vec![diagnostic])
    })
}

/// The config of the stack, completed by what the project file declares. YAML programs do this
/// themselves, because their declarations may be expressions.
fn with_declared(project: &Project, config: PropertyMap) -> Result<PropertyMap, CommandError> {
    let mut config = config;
    let mut missing = Vec::new();
    for (name, declared) in &project.config {
        let own = !name.contains(':');
        let key = if own {
            format!("{}:{name}", project.name)
        } else {
            name.clone()
        };
        let given = config.remove(&key);
        let value = given.or_else(|| declared.value.clone().or_else(|| declared.default.clone()));
        match value {
            Some(value) if declared.secret => {
                config.insert(key, value.into_secret());
            }
            Some(value) => {
                config.insert(key, value);
            }
            None if own => missing.push(
                Diagnostic::error(
                    codes::program::CONFIG_VALUE,
                    format!("config `{name}` has neither a value nor a default"),
                )
                .at(&project.file, declared.span, "declared here")
                .hint(format!("run `lockgate config set {name} VALUE`")),
            ),
            None => {}
        }
    }
    if missing.is_empty() {
        Ok(config)
    } else {
        Err(CommandError::Usage(missing))
    }
}
