//! Evaluates the instructions of one stage in order.

use std::collections::BTreeMap;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Code, Diagnostic, Span};
use lockgate_model::Digest;

use super::command::{health_flag, is_signal, parse_ports};
use super::copy::{self, absolute};
use super::scope::{PassedArgs, Scope};
use super::{Action, Base, Outline, Stage, StageHead, Step};
use crate::dockerfile::expand::expand;
use crate::dockerfile::{Dockerfile, Instruction, Keyword, Word};
use crate::oci::{Empty, Healthcheck, RuntimeConfig};

/// What a stage starts with, besides its instructions.
pub(crate) struct StageInput<'a> {
    pub(crate) outline: &'a Outline,
    /// Index in the outline.
    pub(crate) stage: usize,
    pub(crate) base: Base,
    /// Configuration of the base; the default one for `scratch`.
    pub(crate) base_config: RuntimeConfig,
    /// Triggers of the base image, parsed.
    pub(crate) triggers: Vec<Dockerfile>,
    /// Scope at the end of the base, if that is an earlier stage.
    pub(crate) inherited: Option<Scope>,
    pub(crate) passed: &'a PassedArgs,
    /// Manifest digests of images that `--from` names.
    pub(crate) images: &'a BTreeMap<String, Digest>,
}

/// What evaluation found.
pub(crate) struct Evaluated {
    pub(crate) stage: Stage,
    /// For stages that start from this one.
    pub(crate) scope: Scope,
    /// Instructions that only an engine can execute.
    pub(crate) engine_only: Vec<Diagnostic>,
}

/// Evaluates a stage; diagnostics are appended.
pub(crate) fn evaluate(
    dockerfile: &Dockerfile,
    input: StageInput<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Evaluated {
    let mut config = input.base_config.clone();
    config.on_build.clear();
    let mut work = Evaluation {
        dockerfile,
        input: &input,
        scope: input
            .inherited
            .clone()
            .unwrap_or_else(|| Scope::with_env(&config.env)),
        config,
        author: None,
        steps: Vec::new(),
        cmd_set: false,
        diagnostics,
        engine_only: Vec::new(),
    };
    for trigger in &input.triggers {
        work.dockerfile = trigger;
        for instruction in &trigger.instructions {
            work.instruction(instruction);
        }
    }
    work.dockerfile = dockerfile;
    for index in input.outline.stages[input.stage].body.clone() {
        work.instruction(&dockerfile.instructions[index]);
    }
    let Evaluation {
        scope,
        config,
        author,
        steps,
        engine_only,
        ..
    } = work;
    Evaluated {
        stage: Stage {
            base: input.base.clone(),
            steps,
            config,
            author,
        },
        scope,
        engine_only,
    }
}

pub(super) struct Evaluation<'a> {
    dockerfile: &'a Dockerfile,
    input: &'a StageInput<'a>,
    scope: Scope,
    config: RuntimeConfig,
    author: Option<String>,
    steps: Vec<Step>,
    /// CMD was set in this stage, so ENTRYPOINT keeps it.
    cmd_set: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
    engine_only: Vec<Diagnostic>,
}

impl Evaluation<'_> {
    pub(super) fn error(&mut self, code: Code, message: String, span: Span) {
        self.diagnostics
            .push(Diagnostic::error(code, message).at(&self.dockerfile.file, span, ""));
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn escape(&self) -> char {
        self.dockerfile.escape
    }

    pub(super) fn working_dir(&self) -> &str {
        &self.config.working_dir
    }

    pub(super) fn earlier(&self) -> &[StageHead] {
        &self.input.outline.stages[..self.input.stage]
    }

    pub(super) fn image(&self, reference: &str) -> Option<Digest> {
        self.input.images.get(reference).copied()
    }

    /// Expands a text of an instruction whose result reaches the image.
    pub(super) fn expand(&mut self, text: &str, span: Span) -> Option<String> {
        if self.check_secret(text, span) {
            return None;
        }
        match expand(text, self.dockerfile.escape, &self.scope) {
            Ok(text) => Some(text),
            Err(e) => {
                self.error(codes::EXPANSION, e.0, span);
                None
            }
        }
    }

    /// Reports a secret argument in a text; whether there was one.
    pub(super) fn check_secret(&mut self, text: &str, span: Span) -> bool {
        let Some(name) = self.scope.secret_in(text).map(str::to_owned) else {
            return false;
        };
        self.diagnostics.push(
            Diagnostic::error(
                codes::SECRET_IN_IMAGE,
                format!("the value of the secret argument `{name}` would be stored in the image"),
            )
            .at(&self.dockerfile.file, span, "")
            .hint("pass the value to the service when it starts (`secretEnv`)"),
        );
        true
    }

    /// Downloads at build time need an engine or a checksum.
    pub(super) fn remote_add(&mut self, url: &str, span: Span) {
        self.engine_only.push(
            Diagnostic::error(
                codes::NEEDS_ENGINE,
                format!("`ADD` of the remote source `{url}` is not assembled in process"),
            )
            .at(&self.dockerfile.file, span, "")
            .hint("download the file before the build and `COPY` it"),
        );
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let allowed = matches!(
            instruction.keyword,
            Keyword::Add | Keyword::Copy | Keyword::Healthcheck | Keyword::Run | Keyword::From
        );
        if !allowed && let Some(flag) = instruction.flags.first() {
            let message = format!(
                "`{}` has no flag `--{}`",
                instruction.keyword.as_str(),
                flag.name
            );
            self.error(codes::INSTRUCTION_ARGUMENTS, message, flag.span);
        }
        let Some(action) = self.apply(instruction) else {
            return;
        };
        self.steps.push(Step {
            created_by: instruction.summary(),
            action,
        });
    }

    /// `None` when a mistake was reported or there is nothing to record.
    fn apply(&mut self, i: &Instruction) -> Option<Action> {
        match i.keyword {
            Keyword::Add | Keyword::Copy => return copy::evaluate(self, i),
            Keyword::Run => {
                self.run(i);
                return None;
            }
            Keyword::Arg => {
                self.arg(i);
                // Values of arguments are not in the image, so they are not in its history.
                return None;
            }
            Keyword::Workdir => return self.workdir(i),
            Keyword::From => return None,
            Keyword::Env => {
                for (name, value) in self.pairs(i)? {
                    self.scope.set_env(&name, value);
                }
                self.config.env = self.scope.env_list();
            }
            Keyword::Label => {
                let pairs = self.pairs(i)?;
                self.config.labels.extend(pairs);
            }
            Keyword::Cmd => {
                self.config.cmd = self.command(i.json.clone(), &i.rest.text);
                self.cmd_set = true;
            }
            Keyword::Entrypoint => {
                self.config.entrypoint = self.command(i.json.clone(), &i.rest.text);
                if !self.cmd_set {
                    self.config.cmd = None;
                }
            }
            Keyword::Shell => match &i.json {
                Some(shell) if !shell.is_empty() => self.config.shell = Some(shell.clone()),
                _ => {
                    self.error(
                        codes::INSTRUCTION_ARGUMENTS,
                        "`SHELL` takes a JSON list of strings".to_owned(),
                        i.rest.span,
                    );
                    return None;
                }
            },
            Keyword::Expose => self.expose(i),
            Keyword::Volume => {
                for (text, span) in self.list(i) {
                    let path = self.expand(&text, span)?;
                    self.config.volumes.insert(path, Empty {});
                }
            }
            Keyword::User => self.config.user = self.expand(&i.rest.text, i.rest.span)?,
            Keyword::Stopsignal => {
                let signal = self.expand(&i.rest.text, i.rest.span)?;
                if !is_signal(&signal) {
                    let message = format!("`{signal}` is no signal, for example `SIGTERM`");
                    self.error(codes::INSTRUCTION_ARGUMENTS, message, i.rest.span);
                    return None;
                }
                self.config.stop_signal = signal;
            }
            Keyword::Healthcheck => self.healthcheck(i)?,
            Keyword::Maintainer => self.author = Some(i.rest.text.clone()),
            Keyword::Onbuild => self.onbuild(i)?,
        }
        Some(Action::Config)
    }

    fn run(&mut self, i: &Instruction) {
        self.engine_only.push(
            Diagnostic::error(
                codes::NEEDS_ENGINE,
                "`RUN` needs a build engine, the assembler executes no programs",
            )
            .at(&self.dockerfile.file, i.span, "")
            .hint(
                "start a Docker Engine; if its socket is not the usual one, name it in DOCKER_HOST",
            )
            .hint("run the step before the build and `COPY` its result")
            .hint("build the image elsewhere and reference it by digest"),
        );
    }

    fn arg(&mut self, i: &Instruction) {
        for word in &i.words {
            let (name, default) = match word.text.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word.text.as_str(), None),
            };
            if self.input.passed.secret.contains_key(name) {
                self.scope.set_secret_arg(name);
                continue;
            }
            let value = match (self.input.passed.plain.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => match self.expand(default, word.span) {
                    Some(value) => Some(value),
                    None => continue,
                },
                (None, None) => self.input.outline.global_args.get(name).cloned(),
            };
            self.scope.set_arg(name, value);
        }
    }

    fn workdir(&mut self, i: &Instruction) -> Option<Action> {
        let path = self.expand(&i.rest.text, i.rest.span)?;
        self.config.working_dir = absolute(&self.config.working_dir, &path);
        Some(Action::Workdir {
            path: self.config.working_dir.clone(),
            user: self.config.user.clone(),
        })
    }

    /// `name=value …`, or the old form `name value`. All values see the scope before the line.
    fn pairs(&mut self, i: &Instruction) -> Option<Vec<(String, String)>> {
        let first = i.words.first()?;
        if !first.text.contains('=') {
            if i.words.len() < 2 {
                let message = format!("`{}` needs `name=value`", i.keyword.as_str());
                self.error(codes::INSTRUCTION_ARGUMENTS, message, i.span);
                return None;
            }
            let value = i.rest.text[first.text.len()..].trim();
            let value = self.expand(value, i.rest.span)?;
            return Some(vec![(first.text.clone(), value)]);
        }
        i.words
            .iter()
            .map(|word| self.pair(i.keyword, word))
            .collect()
    }

    fn pair(&mut self, keyword: Keyword, word: &Word) -> Option<(String, String)> {
        let found = word
            .text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty());
        let Some((name, value)) = found else {
            let message = format!("`{}` is not `name=value`", word.text);
            self.error(codes::INSTRUCTION_ARGUMENTS, message, word.span);
            return None;
        };
        // Names of labels may be quoted and hold variables, those of ENV too.
        let name = self.expand(name, word.span)?;
        let value = self.expand(value, word.span)?;
        if keyword == Keyword::Env && name.is_empty() {
            self.error(
                codes::INSTRUCTION_ARGUMENTS,
                "the name of a variable is empty".to_owned(),
                word.span,
            );
            return None;
        }
        Some((name, value))
    }

    fn list(&self, i: &Instruction) -> Vec<(String, Span)> {
        match &i.json {
            Some(list) => list
                .iter()
                .map(|text| (text.clone(), i.rest.span))
                .collect(),
            None => i.words.iter().map(|w| (w.text.clone(), w.span)).collect(),
        }
    }

    /// The JSON form as it is; the shell form behind the shell. An empty list is no command.
    fn command(&self, json: Option<Vec<String>>, text: &str) -> Option<Vec<String>> {
        let line = json.unwrap_or_else(|| {
            let mut line = self
                .config
                .shell
                .clone()
                .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            line.push(text.to_owned());
            line
        });
        Some(line).filter(|line| !line.is_empty())
    }

    fn expose(&mut self, i: &Instruction) {
        for word in &i.words {
            let Some(text) = self.expand(&word.text, word.span) else {
                continue;
            };
            for port in text.split_whitespace() {
                match parse_ports(port) {
                    Ok(ports) => self
                        .config
                        .exposed_ports
                        .extend(ports.into_iter().map(|p| (p, Empty {}))),
                    Err(message) => self.error(codes::INSTRUCTION_ARGUMENTS, message, word.span),
                }
            }
        }
    }

    fn healthcheck(&mut self, i: &Instruction) -> Option<()> {
        let mut health = Healthcheck::default();
        for flag in &i.flags {
            let value = flag.value.as_deref().unwrap_or("");
            if let Err(message) = health_flag(&mut health, &flag.name, value) {
                self.error(codes::INSTRUCTION_ARGUMENTS, message, flag.span);
            }
        }
        let kind = i.words.first()?;
        let rest = i.rest.text[kind.text.len()..].trim();
        health.test = match (kind.text.to_ascii_uppercase().as_str(), rest.is_empty()) {
            ("NONE", true) => vec!["NONE".to_owned()],
            ("CMD", false) => match serde_json::from_str::<Vec<String>>(rest) {
                Ok(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
                Err(_) => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
            },
            _ => {
                self.error(
                    codes::INSTRUCTION_ARGUMENTS,
                    "`HEALTHCHECK` takes `NONE` or `CMD` and a command".to_owned(),
                    i.span,
                );
                return None;
            }
        };
        self.config.healthcheck = Some(health);
        Some(())
    }

    fn onbuild(&mut self, i: &Instruction) -> Option<()> {
        let keyword = i.words.first().map(|w| w.text.to_ascii_uppercase());
        if matches!(
            keyword.as_deref(),
            None | Some("ONBUILD" | "FROM" | "MAINTAINER")
        ) {
            let message =
                "`ONBUILD` takes an instruction other than ONBUILD, FROM and MAINTAINER".to_owned();
            self.error(codes::INSTRUCTION_ARGUMENTS, message, i.span);
            return None;
        }
        self.config.on_build.push(i.rest.text.clone());
        Some(())
    }
}
