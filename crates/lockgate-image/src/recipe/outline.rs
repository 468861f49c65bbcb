//! Stages, their bases and which of them the target needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, Span, did_you_mean};

use super::scope::{PROXY_ARGS, PassedArgs, Scope, platform_args};
use crate::dockerfile::expand::expand;
use crate::dockerfile::{Dockerfile, Instruction, Keyword};
use crate::os_arch::OsArch;

/// What a FROM names, before resolution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BaseRef {
    Scratch,
    Stage(usize),
    /// A reference as written, after expansion.
    Image(String),
}

/// A stage as written.
#[derive(Clone, Debug)]
pub(crate) struct StageHead {
    pub(crate) name: Option<String>,
    pub(crate) base: BaseRef,
    /// Span of the base in the FROM line.
    pub(crate) base_span: Span,
    /// Its instructions in [`Dockerfile::instructions`], FROM left out.
    pub(crate) body: Range<usize>,
    /// COPY --from values that are no stage: images, with the place.
    pub(crate) from_images: Vec<(String, Span)>,
}

/// The whole file, ready for resolution.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) stages: Vec<StageHead>,
    /// Stages the target needs, ascending; the target is the last.
    pub(crate) reachable: Vec<usize>,
    /// Values of ARGs above the first FROM, for bare redeclaration in stages.
    pub(crate) global_args: BTreeMap<String, String>,
}

/// Finds stages and the reachable part. `None` when the mistakes leave nothing to build.
pub(crate) fn outline(
    dockerfile: &Dockerfile,
    passed: &PassedArgs,
    target: Option<&str>,
    os_arch: &OsArch,
) -> (Option<Outline>, Vec<Diagnostic>) {
    let mut work = Work {
        dockerfile,
        diagnostics: Vec::new(),
        stages: Vec::new(),
    };
    let global_args = work.global_args(passed, os_arch);
    work.stages(&global_args);
    work.collect_from_images();
    let Some(target) = work.target(target) else {
        return (None, work.diagnostics);
    };
    let reachable = work.reachable(target);
    work.warn_undeclared(passed, &reachable);
    let Work {
        stages,
        diagnostics,
        ..
    } = work;
    (
        Some(Outline {
            stages,
            reachable,
            global_args,
        }),
        diagnostics,
    )
}

struct Work<'a> {
    dockerfile: &'a Dockerfile,
    diagnostics: Vec<Diagnostic>,
    stages: Vec<StageHead>,
}

impl<'a> Work<'a> {
    fn error(&mut self, code: lockgate_diag::Code, message: String, span: Span) {
        let file = &self.dockerfile.file;
        self.diagnostics
            .push(Diagnostic::error(code, message).at(file, span, ""));
    }

    fn global_args(&mut self, passed: &PassedArgs, os_arch: &OsArch) -> BTreeMap<String, String> {
        let mut args = platform_args(os_arch);
        let dockerfile = self.dockerfile;
        for instruction in &dockerfile.instructions {
            match instruction.keyword {
                Keyword::From => break,
                Keyword::Arg => {}
                keyword => {
                    let message = format!("`{}` stands before the first `FROM`", keyword.as_str());
                    self.error(codes::DOCKERFILE_SYNTAX, message, instruction.span);
                    continue;
                }
            }
            for word in &instruction.words {
                let (name, default) = match word.text.split_once('=') {
                    Some((name, default)) => (name, Some(default)),
                    None => (word.text.as_str(), None),
                };
                let value = match (passed.plain.get(name), default) {
                    (Some(value), _) => Some(value.clone()),
                    (None, Some(default)) => self.expand_global(default, &args, word.span),
                    (None, None) => None,
                };
                if let Some(value) = value {
                    args.insert(name.to_owned(), value);
                }
            }
        }
        args
    }

    fn expand_global(
        &mut self,
        text: &str,
        args: &BTreeMap<String, String>,
        span: Span,
    ) -> Option<String> {
        let mut scope = Scope::default();
        for (name, value) in args {
            scope.set_arg(name, Some(value.clone()));
        }
        match expand(text, self.dockerfile.escape, &scope) {
            Ok(value) => Some(value),
            Err(e) => {
                self.error(codes::EXPANSION, e.0, span);
                None
            }
        }
    }

    fn stages(&mut self, global_args: &BTreeMap<String, String>) {
        let dockerfile = self.dockerfile;
        let froms: Vec<usize> = dockerfile
            .instructions
            .iter()
            .enumerate()
            .filter(|(_, i)| i.keyword == Keyword::From)
            .map(|(index, _)| index)
            .collect();
        for (position, start) in froms.iter().enumerate() {
            let end = froms
                .get(position + 1)
                .copied()
                .unwrap_or(dockerfile.instructions.len());
            let head = self.stage(
                &dockerfile.instructions[*start],
                start + 1..end,
                global_args,
            );
            self.stages.push(head);
        }
        if froms.is_empty() && !dockerfile.instructions.is_empty() {
            let span = dockerfile.instructions[0].span;
            self.error(
                codes::DOCKERFILE_SYNTAX,
                "the file has no `FROM`".to_owned(),
                span,
            );
        }
    }

    fn stage(
        &mut self,
        from: &Instruction,
        body: Range<usize>,
        args: &BTreeMap<String, String>,
    ) -> StageHead {
        let (image, name) = match from.words.as_slice() {
            [image] => (image, None),
            [image, by, name] if by.text.eq_ignore_ascii_case("as") => (image, Some(name)),
            words => {
                self.error(
                    codes::INSTRUCTION_ARGUMENTS,
                    "`FROM` takes an image and optionally `AS name`".to_owned(),
                    from.span,
                );
                (&words[0], None)
            }
        };
        for flag in from.flags.iter().filter(|f| f.name != "platform") {
            self.error(
                codes::INSTRUCTION_ARGUMENTS,
                format!("`FROM` has no flag `--{}`", flag.name),
                flag.span,
            );
        }
        if let Some(name) = name {
            let taken = self.find_stage(&name.text).is_some();
            let letter = name.text.starts_with(|c: char| c.is_ascii_alphabetic());
            let plain = name
                .text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            if taken {
                let message = format!("stage `{}` exists already and is hidden by this", name.text);
                self.diagnostics
                    .push(Diagnostic::warning(codes::DOCKERFILE_SYNTAX, message).at(
                        &self.dockerfile.file,
                        name.span,
                        "",
                    ));
            }
            if !letter || !plain || name.text.eq_ignore_ascii_case("scratch") {
                self.error(
                    codes::DOCKERFILE_SYNTAX,
                    format!("`{}` cannot name a stage", name.text),
                    name.span,
                );
            }
        }
        let base = self
            .expand_global(&image.text, args, image.span)
            .unwrap_or_default();
        let base = if base.is_empty() {
            let message = format!("base image `{}` is empty after expansion", image.text);
            self.error(codes::BASE_IMAGE, message, image.span);
            BaseRef::Scratch
        } else if base == "scratch" {
            BaseRef::Scratch
        } else if let Some(stage) = self.find_stage(&base) {
            BaseRef::Stage(stage)
        } else {
            BaseRef::Image(base)
        };
        StageHead {
            name: name.map(|n| n.text.clone()),
            base,
            base_span: image.span,
            body,
            from_images: Vec::new(),
        }
    }

    /// Stage names compare without regard to case; of two with one name the later counts.
    fn find_stage(&self, name: &str) -> Option<usize> {
        self.stages.iter().rposition(|s| {
            s.name
                .as_deref()
                .is_some_and(|n| n.eq_ignore_ascii_case(name))
        })
    }

    fn collect_from_images(&mut self) {
        for stage in 0..self.stages.len() {
            for index in self.stages[stage].body.clone() {
                let instruction = &self.dockerfile.instructions[index];
                for (value, span) in from_flags(instruction) {
                    match find_from(&self.stages[..stage], value) {
                        Some(_) => {}
                        None if value.parse::<usize>().is_ok() => {
                            self.error(
                                codes::UNKNOWN_STAGE,
                                format!("there is no earlier stage {value}"),
                                span,
                            );
                        }
                        None => self.stages[stage]
                            .from_images
                            .push((value.to_owned(), span)),
                    }
                }
            }
        }
    }

    fn target(&mut self, target: Option<&str>) -> Option<usize> {
        let Some(target) = target else {
            return self.stages.len().checked_sub(1);
        };
        let found = self
            .find_stage(target)
            .or_else(|| target.parse().ok().filter(|i| *i < self.stages.len()));
        if found.is_none() {
            let names = self.stages.iter().filter_map(|s| s.name.as_deref());
            let near = did_you_mean(target, names);
            let mut diagnostic = Diagnostic::error(
                codes::UNKNOWN_STAGE,
                format!("the target stage `{target}` does not exist"),
            )
            .at(&self.dockerfile.file, Span::default(), "");
            if let Some(near) = near {
                diagnostic = diagnostic.hint(format!("did you mean `{near}`"));
            }
            self.diagnostics.push(diagnostic);
        }
        found
    }

    fn reachable(&self, target: usize) -> Vec<usize> {
        let mut needed = BTreeSet::from([target]);
        // Stages refer only to earlier ones, so one pass from the end finds all.
        for stage in (0..=target).rev() {
            if !needed.contains(&stage) {
                continue;
            }
            let head = &self.stages[stage];
            if let BaseRef::Stage(base) = head.base {
                needed.insert(base);
            }
            for index in head.body.clone() {
                for (value, _) in from_flags(&self.dockerfile.instructions[index]) {
                    needed.extend(find_from(&self.stages[..stage], value));
                }
            }
        }
        needed.into_iter().collect()
    }

    fn warn_undeclared(&mut self, passed: &PassedArgs, reachable: &[usize]) {
        let first = self.stages.first().map_or(0, |s| s.body.start);
        let bodies = reachable.iter().flat_map(|s| self.stages[*s].body.clone());
        let declared: BTreeSet<&str> = (0..first)
            .chain(bodies)
            .map(|i| &self.dockerfile.instructions[i])
            .filter(|i| i.keyword == Keyword::Arg)
            .flat_map(|i| {
                i.words
                    .iter()
                    .map(|w| w.text.split('=').next().unwrap_or(""))
            })
            .collect();
        for name in passed.plain.keys().chain(passed.secret.keys()) {
            if !declared.contains(name.as_str()) && !PROXY_ARGS.contains(&name.as_str()) {
                let mut diagnostic = Diagnostic::warning(
                    codes::UNUSED_BUILD_ARG,
                    format!("build argument `{name}` is passed but no `ARG` declares it"),
                );
                diagnostic = match did_you_mean(name, declared.iter().copied()) {
                    Some(near) => diagnostic.hint(format!("the Dockerfile declares `{near}`")),
                    None => diagnostic.hint(format!(
                        "add `ARG {name}` to the stage that uses it, or stop passing it"
                    )),
                };
                self.diagnostics.push(diagnostic);
            }
        }
    }
}

/// The values of `COPY --from=` and `RUN --mount=…,from=` (ADD has none).
fn from_flags(instruction: &Instruction) -> impl Iterator<Item = (&str, Span)> {
    instruction.flags.iter().filter_map(|flag| {
        let value = flag.value.as_deref()?;
        let from = match (instruction.keyword, flag.name.as_str()) {
            (Keyword::Copy, "from") => value,
            (Keyword::Run, "mount") => value.split(',').find_map(|p| p.strip_prefix("from="))?,
            _ => return None,
        };
        Some((from, flag.span))
    })
}

/// The earlier stage that a `--from` names, by name or index.
pub(super) fn find_from(earlier: &[StageHead], value: &str) -> Option<usize> {
    earlier
        .iter()
        .rposition(|s| {
            s.name
                .as_deref()
                .is_some_and(|n| n.eq_ignore_ascii_case(value))
        })
        .or_else(|| value.parse().ok().filter(|i| *i < earlier.len()))
}
