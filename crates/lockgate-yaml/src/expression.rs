//! What a value of a program is before it is evaluated.

use std::sync::Arc;

use lockgate_diag::Span;

use crate::function::Builtin;

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expression {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(f64),
    Text(Arc<str>),
    /// Text with references in it; its value is text.
    Mixed(Vec<Part>),
    /// A string that is one reference and nothing else keeps the value's type.
    Reference(Box<Reference>),
    List(Vec<Expression>),
    /// Keys are text, possibly mixed.
    Map(Vec<(Expression, Expression)>),
    Call(Box<Call>),
    /// Reported already.
    Refused,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Reference(Reference),
}

/// `${root.name["key"][0]}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    pub(crate) span: Span,
    pub(crate) root: Arc<str>,
    pub(crate) root_span: Span,
    pub(crate) steps: Vec<(Step, Span)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// `.name`.
    Name(String),
    /// `["key"]`.
    Key(String),
    /// `[0]`.
    Index(usize),
}

/// A function call. `slot` numbers the calls of a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) span: Span,
    pub(crate) slot: u32,
    pub(crate) function: Function,
    pub(crate) args: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Function {
    Builtin(Builtin),
    Invoke(Box<Invoke>),
}

/// A function of a package. Its arguments are the only argument of the call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invoke {
    pub(crate) token: String,
    pub(crate) token_span: Span,
    /// Takes one field of the answer.
    pub(crate) pick: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) parent: Option<Expression>,
    pub(crate) provider: Option<Expression>,
    pub(crate) depends_on: Option<Expression>,
}

impl Expression {
    /// Calls `visit` for every reference, in file order.
    pub(crate) fn references<'e>(&'e self, visit: &mut dyn FnMut(&'e Reference)) {
        match &self.kind {
            Kind::Reference(reference) => visit(reference),
            Kind::Mixed(parts) => {
                for part in parts {
                    if let Part::Reference(reference) = part {
                        visit(reference);
                    }
                }
            }
            _ => self.children(&mut |child| child.references(visit)),
        }
    }

    /// Calls `visit` for every call, inner ones first.
    pub(crate) fn calls<'e>(&'e self, visit: &mut dyn FnMut(&'e Call)) {
        self.children(&mut |child| child.calls(visit));
        if let Kind::Call(call) = &self.kind {
            visit(call);
        }
    }

    fn children<'e>(&'e self, visit: &mut dyn FnMut(&'e Expression)) {
        match &self.kind {
            Kind::List(items) => items.iter().for_each(visit),
            Kind::Map(entries) => {
                for (key, value) in entries {
                    visit(key);
                    visit(value);
                }
            }
            Kind::Call(call) => {
                call.args.iter().for_each(&mut *visit);
                if let Function::Invoke(invoke) = &call.function {
                    let options = [&invoke.parent, &invoke.provider, &invoke.depends_on];
                    options.into_iter().flatten().for_each(visit);
                }
            }
            _ => {}
        }
    }
}
