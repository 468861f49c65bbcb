//! Where resources and their properties stand in the text, for mistakes that only the engine can
//! find.

use std::fmt;
use std::sync::Arc;

use lockgate_diag::{Label, Span};
use lockgate_engine::path::{PropertyPath, Segment};
use lockgate_engine::source::Places;

use super::Run;
use crate::check::Checked;
use crate::expression::{Expression, Function, Kind};
use crate::function::Builtin;
use crate::program::{Entry, EntryKind, Properties, Resource};

/// A resource in the text. It holds on to the program, so that nothing is looked for unless it is
/// asked for.
pub(super) struct Declared {
    program: Arc<Checked>,
    /// The component that it is inside of, by its place.
    component: Option<usize>,
    entry: usize,
    /// The use of that component.
    user: Option<Arc<Self>>,
}

impl Run<'_> {
    /// The resource at `index`, for the engine to ask for its places.
    pub(super) fn declared(&self, index: usize) -> Arc<Declared> {
        let instance = self.instance.as_ref();
        Arc::new(Declared {
            program: Arc::clone(self.shared.program),
            component: instance.map(|i| i.component),
            entry: index,
            user: instance.map(|i| Arc::clone(&i.declared)),
        })
    }
}

impl Declared {
    fn scope(&self) -> &Checked {
        match self.component {
            Some(component) => &self.program.components[component],
            None => &self.program,
        }
    }

    fn entry(&self) -> &Entry {
        &self.scope().program.entries[self.entry]
    }

    fn label(&self, span: Span, text: String) -> Label {
        let file = &self.scope().program.files[self.entry().file];
        Label {
            file: Arc::clone(file),
            span,
            text,
        }
    }
}

impl Places for Declared {
    fn find(&self, property: &str) -> Vec<Label> {
        let entry = self.entry();
        let span = match &entry.kind {
            EntryKind::Resource(resource) => property_span(resource, property),
            _ => None,
        };
        let mut labels = vec![self.label(span.unwrap_or(entry.span), String::new())];
        let mut user = self.user.as_deref();
        while let Some(declared) = user {
            let entry = declared.entry();
            labels.push(declared.label(entry.span, format!("inside `{}`", entry.name)));
            user = declared.user.as_deref();
        }
        labels
    }
}

// By hand: a program is too much to read where a registration is printed.
impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Declared");
        out.field("entry", &self.entry().name)
            .finish_non_exhaustive()
    }
}

/// The place of a property, as deep as the text goes; `None` when not even its first part is
/// there.
fn property_span(resource: &Resource, property: &str) -> Option<Span> {
    let path = PropertyPath::parse(property).ok()?;
    let entries = match &resource.properties {
        Properties::Whole(whole) => return Some(whole.span),
        Properties::Map(entries) => entries,
    };
    let (first, rest) = path.0.split_first()?;
    let Segment::Key(first) = first else {
        return None;
    };
    let (_, name, value) = entries.iter().find(|(name, ..)| name == first)?;
    let (mut name, mut value) = (*name, in_clear(value));
    for segment in rest {
        let Some((next, inner)) = step(value, segment) else {
            break;
        };
        (name, value) = (next, in_clear(inner));
    }
    Some(match &value.kind {
        // A reference or a literal is itself what was refused.
        Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Mixed(_) | Kind::Reference(_) => {
            value.span
        }
        // What spans lines, or is not written down, is found by its name.
        Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Call(_) | Kind::Refused => name,
    })
}

/// One step into a literal: the place of its name (of itself in a list), and the value.
fn step<'e>(value: &'e Expression, segment: &Segment) -> Option<(Span, &'e Expression)> {
    match (segment, &value.kind) {
        (Segment::Key(wanted), Kind::Map(entries)) => {
            let named =
                |key: &Expression| matches!(&key.kind, Kind::Text(text) if **text == **wanted);
            let (key, value) = entries.iter().find(|(key, _)| named(key))?;
            Some((key.span, value))
        }
        (Segment::Index(index), Kind::List(items)) => {
            let item = items.get(*index)?;
            Some((item.span, item))
        }
        _ => None,
    }
}

/// What stands in `fn::secret`.
fn in_clear(mut value: &Expression) -> &Expression {
    while let Kind::Call(call) = &value.kind
        && let Function::Builtin(Builtin::Secret) = call.function
        && let [inner] = call.args.as_slice()
    {
        value = inner;
    }
    value
}
