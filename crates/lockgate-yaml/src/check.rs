//! A parsed program against names, config and schemas: everything that can be known before
//! anything is registered.

mod components;
mod config;
mod cycles;
mod names;
mod properties;
mod types;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lockgate_diag::codes::program::{UNKNOWN_TYPE, WRONG_KIND};
use lockgate_diag::{Diagnostic, Span};
use lockgate_engine::Providers;
use lockgate_model::Value;

use crate::expression::{Expression, Function, Kind};
use crate::program::{EntryKind, Program, Resource};

use components::Components;

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
    pub(crate) context: Arc<Context>,
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
    /// The bodies of the components, in the order of the program; empty in a body.
    pub(crate) components: Vec<Checked>,
    /// For each component the packages whose resources it makes, those inside it included.
    pub(crate) packages: Arc<Vec<BTreeSet<String>>>,
}

/// Checks a program. The result is `None` when there is an error.
pub fn check(
    mut program: Program,
    providers: &dyn Providers,
    context: Context,
) -> (Option<Checked>, Vec<Diagnostic>) {
    let declared = std::mem::take(&mut program.components);
    let context = Arc::new(context);
    // A component sees what it is given, not the stack config.
    let inside = Arc::new(Context {
        config: BTreeMap::new(),
        ..(*context).clone()
    });
    let mut components = Components::new(&declared, &context.project);
    components.outside = program.entries.iter().map(|e| e.name.clone()).collect();
    let mut found = components.check_tokens(&program, providers, &declared);
    let components = Arc::new(components);
    let mut scopes: Vec<Checker<'_>> = declared
        .iter()
        .map(|c| {
            Checker::new(
                c.body.clone(),
                providers,
                &inside,
                &components,
                Some(&c.name),
            )
        })
        .collect();
    scopes.push(Checker::new(
        program,
        providers,
        &context,
        &components,
        None,
    ));
    for scope in &mut scopes {
        scope.resolve();
    }
    let packages = Arc::new(components::packages(&scopes));
    found.extend(components::check_uses(&declared, &scopes));
    let mut checked: Vec<Checked> = Vec::with_capacity(scopes.len());
    for mut scope in scopes {
        scope.checked.packages = Arc::clone(&packages);
        scope.relate();
        found.append(&mut scope.found);
        checked.push(scope.checked);
    }
    let Some(mut main) = checked.pop() else {
        return (None, found);
    };
    main.components = checked;
    let sound = !found.iter().any(Diagnostic::is_error);
    (sound.then_some(main), found)
}

/// The full token of a managed resource type, short forms included; an unknown one is an error
/// with near names.
pub fn find_resource_type(
    providers: &dyn Providers,
    token: &str,
) -> Result<String, Box<Diagnostic>> {
    let context = Arc::new(Context::default());
    let none = Arc::new(Components::default());
    let checker = Checker::new(Program::empty(&[]), providers, &context, &none, None);
    match checker.find_type(token) {
        Some(kind) => Ok(kind.token),
        None => {
            let (message, hint) = checker.unknown_token(token, "type", |schema| {
                schema.resources.keys().cloned().collect()
            });
            let diagnostic = Diagnostic::error(UNKNOWN_TYPE, message);
            Err(Box::new(
                hint.into_iter().fold(diagnostic, Diagnostic::hint),
            ))
        }
    }
}

/// Checks the entries of the program, or of one component.
struct Checker<'p> {
    providers: &'p dyn Providers,
    checked: Checked,
    components: Arc<Components>,
    /// The component whose body it is.
    component: Option<Arc<str>>,
    /// Types by the token as written; programs use few types many times.
    known_types: HashMap<String, Option<Arc<ResourceType>>>,
    found: Vec<Diagnostic>,
}

impl<'p> Checker<'p> {
    fn new(
        program: Program,
        providers: &'p dyn Providers,
        context: &Arc<Context>,
        components: &Arc<Components>,
        component: Option<&Arc<str>>,
    ) -> Self {
        let count = program.entries.len();
        Self {
            providers,
            checked: Checked {
                program,
                context: Arc::clone(context),
                names: HashMap::with_capacity(count),
                dependencies: Vec::with_capacity(count),
                types: Vec::with_capacity(count),
                functions: HashMap::new(),
                default_providers: HashMap::new(),
                components: Vec::new(),
                packages: Arc::default(),
            },
            components: Arc::clone(components),
            component: component.cloned(),
            known_types: HashMap::new(),
            found: Vec::new(),
        }
    }

    /// Runs `step` with the program taken out, so that the checker can be changed meanwhile.
    fn walk(&mut self, step: impl FnOnce(&mut Self, &Program)) {
        let program = std::mem::replace(&mut self.checked.program, Program::empty(&[]));
        step(self, &program);
        self.checked.program = program;
    }

    /// Names and types: what others may ask about.
    fn resolve(&mut self) {
        self.walk(|checker, program| {
            checker.collect_names(program);
            for (index, entry) in program.entries.iter().enumerate() {
                let resource_type = match &entry.kind {
                    EntryKind::Resource(resource) => {
                        checker.resource_type(program, index, resource)
                    }
                    EntryKind::Config(config) => {
                        checker.check_config(program, entry, config);
                        None
                    }
                    EntryKind::Input(input) => {
                        checker.check_default(program, entry, input);
                        None
                    }
                    EntryKind::Variable(_) => None,
                };
                checker.checked.types.push(resource_type);
            }
        });
    }

    /// References, properties and the order they give.
    fn relate(&mut self) {
        self.walk(|checker, program| {
            let mut edges = Vec::with_capacity(program.entries.len());
            for (index, entry) in program.entries.iter().enumerate() {
                let mut needs = Vec::new();
                for expression in entry.expressions() {
                    checker.check_references(program, entry.file, expression, &mut needs);
                    checker.check_calls(program, entry.file, expression);
                }
                if let EntryKind::Resource(resource) = &entry.kind {
                    checker.check_resource(program, index, resource);
                    checker.add_default_providers(index, resource, &mut needs);
                }
                edges.push(needs);
            }
            for output in &program.outputs {
                checker.check_references(program, output.file, &output.value, &mut Vec::new());
                checker.check_calls(program, output.file, &output.value);
            }
            let vertices: Vec<_> = program
                .entries
                .iter()
                .map(|entry| (entry.name.as_ref(), entry.file))
                .collect();
            checker
                .found
                .extend(cycles::check(&program.files, &vertices, &edges));
            checker.checked.dependencies = edges
                .into_iter()
                .map(|needs| {
                    let mut all: Vec<usize> = needs.into_iter().map(|(to, _)| to).collect();
                    all.sort_unstable();
                    all.dedup();
                    all
                })
                .collect();
        });
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

    /// A resource without a provider of its own needs the default one of its package; a component
    /// needs those of all packages in it.
    fn add_default_providers(
        &self,
        index: usize,
        resource: &Resource,
        needs: &mut Vec<(usize, Span)>,
    ) {
        let Some(kind) = &self.checked.types[index] else {
            return;
        };
        let providers = self.checked.default_providers_of(kind, resource);
        needs.extend(providers.map(|(_, provider)| (provider, resource.type_span)));
    }
}

impl Checked {
    /// The default providers that a resource uses, with their packages.
    pub(crate) fn default_providers_of<'c>(
        &'c self,
        kind: &'c ResourceType,
        resource: &Resource,
    ) -> impl Iterator<Item = (&'c str, usize)> {
        let own = match kind.component {
            _ if kind.is_provider() || resource.options.expressions.contains_key("provider") => {
                Vec::new()
            }
            Some(component) => self.packages[component]
                .iter()
                .map(String::as_str)
                .collect(),
            None => vec![kind.package()],
        };
        own.into_iter().filter_map(|package| {
            let provider = self.default_providers.get(package)?;
            Some((package, *provider))
        })
    }
}
