//! A parsed program against names, config and schemas: everything that can be known before
//! anything is registered.

mod config;
mod cycles;
mod names;
mod properties;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lockgate_diag::codes::program::WRONG_KIND;
use lockgate_diag::{Diagnostic, Span};
use lockgate_engine::Providers;
use lockgate_model::Value;

use crate::expression::{Expression, Function, Kind};
use crate::program::{EntryKind, Program, Resource};

pub(crate) use config::coerce;
pub(crate) use types::{FunctionType, ResourceType, STACK_REFERENCE};

/// Where and for whom a program runs.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Project name.
    pub project: String,
    /// Stack name.
    pub stack: String,
    /// Organization; `organization` on self-managed state.
    pub organization: String,
    /// Folder of the program.
    pub cwd: String,
    /// Folder of the project file.
    pub root: String,
    /// Stack config by full key, secrets wrapped.
    pub config: BTreeMap<String, Value>,
}

/// A program without mistakes, ready to run.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) program: Program,
    pub(crate) context: Context,
    /// Entries by name.
    pub(crate) names: HashMap<Arc<str>, usize>,
    /// What each entry needs first.
    pub(crate) dependencies: Vec<Vec<usize>>,
    /// Types of the entries that are resources.
    pub(crate) types: Vec<Option<Arc<ResourceType>>>,
    /// Functions of the calls that are invokes, by slot.
    pub(crate) functions: HashMap<u32, FunctionType>,
    /// The provider resource that stands in for the default one, by package.
    pub(crate) default_providers: HashMap<String, usize>,
}

/// Checks a program. The result is `None` when there is an error.
pub fn check(
    program: Program,
    providers: &dyn Providers,
    context: Context,
) -> (Option<Checked>, Vec<Diagnostic>) {
    let count = program.entries.len();
    let mut checker = Checker {
        providers,
        checked: Checked {
            program,
            context,
            names: HashMap::with_capacity(count),
            dependencies: Vec::with_capacity(count),
            types: Vec::with_capacity(count),
            functions: HashMap::new(),
            default_providers: HashMap::new(),
        },
        known_types: HashMap::new(),
        found: Vec::new(),
    };
    checker.run();
    let sound = !checker.found.iter().any(Diagnostic::is_error);
    (sound.then_some(checker.checked), checker.found)
}

struct Checker<'p> {
    providers: &'p dyn Providers,
    checked: Checked,
    /// Types by the token as written; programs use few types many times.
    known_types: HashMap<String, Option<Arc<ResourceType>>>,
    found: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn run(&mut self) {
        // The program is taken out while it is walked, so that the checker can be changed.
        let program = std::mem::replace(
            &mut self.checked.program,
            Program {
                files: Vec::new(),
                entries: Vec::new(),
                outputs: Vec::new(),
            },
        );
        self.collect_names(&program);
        for (index, entry) in program.entries.iter().enumerate() {
            let resource_type = match &entry.kind {
                EntryKind::Resource(resource) => self.resource_type(&program, index, resource),
                EntryKind::Config(config) => {
                    self.check_config(&program, entry, config);
                    None
                }
                EntryKind::Variable(_) => None,
            };
            self.checked.types.push(resource_type);
        }
        let mut edges = Vec::with_capacity(program.entries.len());
        for (index, entry) in program.entries.iter().enumerate() {
            let mut needs = Vec::new();
            for expression in entry.expressions() {
                self.check_references(&program, entry.file, expression, &mut needs);
                self.check_calls(&program, entry.file, expression);
            }
            if let EntryKind::Resource(resource) = &entry.kind {
                self.check_resource(&program, index, resource);
                self.add_default_provider(index, resource, &mut needs);
            }
            edges.push(needs);
        }
        for output in &program.outputs {
            self.check_references(&program, output.file, &output.value, &mut Vec::new());
            self.check_calls(&program, output.file, &output.value);
        }
        cycles::check(&program, &edges, &mut self.found);
        self.checked.dependencies = edges
            .into_iter()
            .map(|needs| {
                let mut all: Vec<usize> = needs.into_iter().map(|(to, _)| to).collect();
                all.sort_unstable();
                all.dedup();
                all
            })
            .collect();
        self.checked.program = program;
    }

    fn error(
        &mut self,
        program: &Program,
        file: usize,
        span: Span,
        code: lockgate_diag::Code,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let diagnostic = Diagnostic::error(code, message).at(&program.files[file], span, "");
        let index = self.found.len();
        self.found.push(diagnostic);
        &mut self.found[index]
    }

    fn check_calls(&mut self, program: &Program, file: usize, expression: &Expression) {
        let mut calls = Vec::new();
        expression.calls(&mut |call| calls.push(call));
        for call in calls {
            let Function::Invoke(invoke) = &call.function else {
                continue;
            };
            if let Some(function) = self.function_type(program, file, invoke) {
                let args = &call.args[0];
                if let Kind::Map(entries) = &args.kind {
                    let owner = format!("function `{}`", invoke.token);
                    self.check_object(
                        program,
                        file,
                        &owner,
                        invoke.token_span,
                        entries,
                        &function.inputs(),
                    );
                } else if !matches!(
                    args.kind,
                    Kind::Reference(_) | Kind::Call(_) | Kind::Refused
                ) {
                    let message = "the arguments of a function must be a map";
                    self.error(program, file, args.span, WRONG_KIND, message);
                }
                self.checked.functions.insert(call.slot, function);
            }
        }
    }

    /// A resource without a provider of its own needs the default one of its package.
    fn add_default_provider(
        &self,
        index: usize,
        resource: &Resource,
        needs: &mut Vec<(usize, Span)>,
    ) {
        let Some(kind) = &self.checked.types[index] else {
            return;
        };
        if kind.is_provider() || resource.options.expressions.contains_key("provider") {
            return;
        }
        if let Some(provider) = self.checked.default_providers.get(kind.package()) {
            needs.push((*provider, resource.type_span));
        }
    }
}
