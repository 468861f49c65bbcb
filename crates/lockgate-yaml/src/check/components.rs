//! Components: the types they declare, and uses that cannot work.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use lockgate_diag::codes::program::{COMPONENT, NAME_CLASH, UNKNOWN_FIELD, YAML_UNSUPPORTED};
use lockgate_diag::{Diagnostic, Span, did_you_mean};
use lockgate_engine::Providers;
use lockgate_model::schema::{PackageSchema, PropertyKind, PropertySchema, ResourceSchema};
use lockgate_model::urn::package_of;

use super::types::{ResourceType, find_token};
use super::{Checker, cycles};
use crate::parse::NAMES_MAX;
use crate::program::{Component, ConfigEntry, ConfigType, Entry, EntryKind, Program, Resource};

/// Options that mean something on a component; the engine hands them on to what is inside, or
/// keeps them with the component.
const OPTIONS: &[&str] = &[
    "aliases",
    "deletedWith",
    "dependsOn",
    "parent",
    "protect",
    "provider",
    "providers",
    "retainOnDelete",
];
/// Options that would have to act on one managed resource.
const REFUSED_OPTIONS: &[&str] = &["import"];

/// Deepest nesting: far above any design, and a bound on the stack of a run.
const DEPTH_MAX: usize = 32;

/// The types that the components of a program declare.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// Place in the program by full token.
    tokens: BTreeMap<String, usize>,
    schema: Arc<PackageSchema>,
    /// Names of the program itself, to explain why a component does not see them.
    pub(super) outside: HashSet<Arc<str>>,
}

impl Components {
    pub(super) fn new(declared: &[Component], project: &str) -> Self {
        let token = |component: &Component| format!("{project}:index:{}", component.name);
        let schema = PackageSchema {
            name: project.to_owned(),
            resources: declared.iter().map(|c| (token(c), schema_of(c))).collect(),
            ..PackageSchema::default()
        };
        let tokens = declared.iter().enumerate();
        Self {
            tokens: tokens.map(|(index, c)| (token(c), index)).collect(),
            schema: Arc::new(schema),
            outside: HashSet::new(),
        }
    }

    /// The component that a type names: `Site`, `shop:Site` or `shop:index:Site` in the project
    /// `shop`.
    pub(super) fn find(&self, token: &str) -> Option<ResourceType> {
        let full = match token.contains(':') {
            true if package_of(token) != self.schema.name => return None,
            true => token.to_owned(),
            false => format!("{}:index:{token}", self.schema.name),
        };
        let token = find_token(&self.tokens, &full)?;
        Some(ResourceType {
            component: self.tokens.get(&token).copied(),
            token,
            package: Some(Arc::clone(&self.schema)),
        })
    }

    /// The component that an unknown type most likely means, as people write it.
    pub(super) fn near(&self, token: &str) -> Option<&str> {
        let name = match token.contains(':') {
            true if package_of(token) != self.schema.name => return None,
            true => token.rsplit(':').next()?,
            false => token,
        };
        did_you_mean(name, self.tokens.keys().map(|token| short(token)))
    }

    /// A component may not take the type of a package that has the project's name.
    pub(super) fn check_tokens(
        &self,
        program: &Program,
        providers: &dyn Providers,
        declared: &[Component],
    ) -> Vec<Diagnostic> {
        let Some(package) = providers.schema(&self.schema.name) else {
            return Vec::new();
        };
        let clash = |(token, index): (&String, &usize)| {
            find_token(&package.resources, token)?;
            let component = &declared[*index];
            let message = format!(
                "component `{}` has the type of a resource of package `{}`",
                component.name, package.name
            );
            let diagnostic = Diagnostic::error(NAME_CLASH, message);
            let file = &program.files[component.file];
            Some(
                diagnostic
                    .at(file, component.span, "")
                    .hint("use another name"),
            )
        };
        self.tokens.iter().filter_map(clash).collect()
    }
}

/// `Site` of `shop:index:Site`.
fn short(token: &str) -> &str {
    token.rsplit(':').next().unwrap_or(token)
}

fn schema_of(component: &Component) -> ResourceSchema {
    let mut schema = ResourceSchema {
        description: component.description.clone().unwrap_or_default(),
        ..ResourceSchema::default()
    };
    for entry in &component.body.entries {
        if let EntryKind::Input(input) = &entry.kind {
            schema
                .inputs
                .insert(entry.name.to_string(), property_of(input));
        }
    }
    for output in &component.body.outputs {
        schema
            .outputs
            .insert(output.name.clone(), PropertySchema::default());
    }
    schema
}

fn property_of(input: &ConfigEntry) -> PropertySchema {
    PropertySchema {
        description: input.description.clone().unwrap_or_default(),
        kind: input.kind.as_ref().map_or(PropertyKind::Any, property_kind),
        required: input.default.is_none() && !input.optional,
        secret: matches!(input.secret, Some((true, _))),
        ..PropertySchema::default()
    }
}

fn property_kind(kind: &ConfigType) -> PropertyKind {
    match kind {
        ConfigType::String => PropertyKind::String { one_of: Vec::new() },
        ConfigType::Number => PropertyKind::Number,
        ConfigType::Integer => PropertyKind::Integer,
        ConfigType::Boolean => PropertyKind::Bool,
        ConfigType::Object => PropertyKind::Map(Box::new(PropertyKind::Any)),
        ConfigType::List(inner) => PropertyKind::List(Box::new(property_kind(inner))),
        ConfigType::Any => PropertyKind::Any,
    }
}

impl Checker<'_> {
    /// What a component cannot be asked for.
    pub(super) fn check_component_use(
        &mut self,
        program: &Program,
        entry: &Entry,
        resource: &Resource,
    ) {
        if let Some(get) = &resource.get {
            let message = format!("component `{}` cannot be looked up", entry.name);
            self.error(program, entry.file, get.id.span, COMPONENT, message)
                .hints
                .push("remove `get`: a component has no id".to_owned());
        }
        if resource.default_provider {
            let message = format!("component `{}` is no provider", entry.name);
            self.error(program, entry.file, entry.span, COMPONENT, message)
                .hints
                .push("remove `defaultProvider`".to_owned());
        }
        for (name, span) in &resource.options.given {
            if REFUSED_OPTIONS.contains(name) {
                let message = format!("component `{}` cannot have `{name}`", entry.name);
                self.error(program, entry.file, *span, COMPONENT, message)
                    .hints
                    .push(format!("set `{name}` on the resources inside it"));
            } else if !OPTIONS.contains(name) {
                let message = format!("`{name}` has no effect on a component");
                let warning = Diagnostic::warning(UNKNOWN_FIELD, message)
                    .at(&program.files[entry.file], *span, "")
                    .hint("set it on the resources inside the component");
                self.found.push(warning);
            }
        }
    }

    /// The components that the entries of this scope use, with the places of the types.
    fn uses(&self) -> impl Iterator<Item = (usize, Span, usize)> {
        let entries = self.checked.program.entries.iter();
        entries
            .zip(&self.checked.types)
            .filter_map(|(entry, kind)| match &entry.kind {
                EntryKind::Resource(resource) => {
                    let component = kind.as_ref()?.component?;
                    Some((component, resource.type_span, entry.file))
                }
                _ => None,
            })
    }
}

/// For each component the packages of the resources in it and in the components it uses. The last
/// scope is the program's.
pub(super) fn packages(scopes: &[Checker<'_>]) -> Vec<BTreeSet<String>> {
    let count = scopes.len().saturating_sub(1);
    let mut packages = vec![BTreeSet::new(); count];
    for (start, all) in packages.iter_mut().enumerate() {
        let mut seen = vec![false; count];
        let mut open = vec![start];
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            open.extend(scopes[index].uses().map(|(component, ..)| component));
            let types = scopes[index].checked.types.iter().flatten();
            let managed = types.filter(|t| t.component.is_none() && !t.is_provider());
            all.extend(managed.map(|t| t.package().to_owned()));
        }
    }
    packages
}

/// Components that need themselves, and programs that would become too large.
pub(super) fn check_uses(declared: &[Component], scopes: &[Checker<'_>]) -> Vec<Diagnostic> {
    let Some((main, bodies)) = scopes.split_last() else {
        return Vec::new();
    };
    let edges: Vec<Vec<(usize, Span)>> = bodies
        .iter()
        .map(|scope| scope.uses().map(|(to, span, _)| (to, span)).collect())
        .collect();
    let vertices: Vec<_> = declared.iter().map(|c| (c.name.as_ref(), c.file)).collect();
    let files = &main.checked.program.files;
    let mut found = cycles::check(files, &vertices, &edges);
    if !found.is_empty() {
        return found;
    }
    let mut sizes = vec![None; bodies.len()];
    for component in 0..bodies.len() {
        let (_, depth) = size(component, bodies, &mut sizes);
        if depth > DEPTH_MAX {
            let declared = &declared[component];
            let message = format!(
                "component `{}` nests others {depth} deep, the limit is {DEPTH_MAX}",
                declared.name
            );
            let file = &files[declared.file];
            found.push(Diagnostic::error(YAML_UNSUPPORTED, message).at(file, declared.span, ""));
            return found;
        }
    }
    let mut total = main.checked.program.entries.len();
    for (component, span, file) in main.uses() {
        total = total.saturating_add(size(component, bodies, &mut sizes).0);
        if total > NAMES_MAX {
            let message =
                format!("with its components the program has more than {NAMES_MAX} names");
            found.push(Diagnostic::error(YAML_UNSUPPORTED, message).at(&files[file], span, ""));
            break;
        }
    }
    found
}

/// Names that one use of a component adds, and how deep it nests. There are no cycles, and
/// `COMPONENTS_MAX` bounds the recursion.
fn size(
    component: usize,
    bodies: &[Checker<'_>],
    sizes: &mut [Option<(usize, usize)>],
) -> (usize, usize) {
    if let Some(size) = sizes[component] {
        return size;
    }
    let (mut names, mut depth) = (bodies[component].checked.program.entries.len(), 1);
    for (to, ..) in bodies[component].uses() {
        let inner = size(to, bodies, sizes);
        names = names.saturating_add(inner.0);
        depth = depth.max(inner.1 + 1);
    }
    sizes[component] = Some((names, depth));
    (names, depth)
}
