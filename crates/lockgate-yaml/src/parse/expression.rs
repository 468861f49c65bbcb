//! Values of the tree as expressions: references in text, functions in maps.

use std::sync::Arc;

use lockgate_config::yaml::{self, Node, Unknown, read_fields};
use lockgate_diag::codes::program::{
    BAD_REFERENCE, DEPRECATED, FIELD_CASE, MISSING_FIELD, UNKNOWN_FIELD, UNKNOWN_FUNCTION,
    WRONG_KIND,
};
use lockgate_diag::{Span, did_you_mean};

use super::Parser;
use crate::expression::{Call, Expression, Function, Invoke, Kind, Part, Reference};
use crate::function::{BUILTINS, Builtin, Shape, find_builtin};
use crate::reference::{Piece, scan};

const INVOKE_FIELDS: &[&str] = &["function", "arguments", "options", "return"];
const INVOKE_OPTIONS: &[&str] = &[
    "parent",
    "provider",
    "version",
    "pluginDownloadURL",
    "dependsOn",
];

impl Parser<'_> {
    pub(super) fn expression(&mut self, node: &Node<'_>) -> Expression {
        let kind = match &node.kind {
            yaml::Kind::Null => Kind::Null,
            yaml::Kind::Bool(value) => Kind::Bool(*value),
            yaml::Kind::Number(value) => Kind::Number(*value),
            yaml::Kind::String(text) => self.text(text, node.span),
            yaml::Kind::List(items) => {
                Kind::List(items.iter().map(|i| self.expression(i)).collect())
            }
            yaml::Kind::Map(entries) => self.map(entries, node.span),
            yaml::Kind::Refused => Kind::Refused,
        };
        Expression {
            span: node.span,
            kind,
        }
    }

    fn text(&mut self, text: &str, span: Span) -> Kind {
        if !text.contains('$') {
            return Kind::Text(text.into());
        }
        let pieces = match scan(text) {
            Ok(pieces) => pieces,
            Err(bad) => {
                let at = self.locate(text, span, bad.range);
                self.report
                    .error(BAD_REFERENCE, at, bad.message)
                    .hints
                    .push(bad.hint);
                return Kind::Refused;
            }
        };
        let mut parts: Vec<Part> = pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Part::Text(text),
                Piece::Reference {
                    range,
                    root,
                    root_range,
                    steps,
                } => Part::Reference(Reference {
                    span: self.locate(text, span, range),
                    root: root.into(),
                    root_span: self.locate(text, span, root_range),
                    steps: steps
                        .into_iter()
                        .map(|(step, range)| (step, self.locate(text, span, range)))
                        .collect(),
                }),
            })
            .collect();
        if parts.len() > 1 {
            return Kind::Mixed(parts);
        }
        match parts.pop() {
            Some(Part::Reference(reference)) => Kind::Reference(Box::new(reference)),
            Some(Part::Text(text)) => Kind::Text(text.into()),
            None => Kind::Text(Arc::from("")),
        }
    }

    /// The place of a range of decoded text: the n-th `${` of the text is the n-th `${` of the
    /// file's bytes. Where escapes make the two differ, the whole scalar is marked.
    fn locate(&self, text: &str, span: Span, range: std::ops::Range<usize>) -> Span {
        let raw = self.report.raw(span);
        let Some((order, anchor)) = text
            .match_indices("${")
            .map(|(at, _)| at)
            .enumerate()
            .take_while(|(_, at)| *at <= range.start)
            .last()
        else {
            return span;
        };
        let wanted = &text[anchor..range.end];
        match raw.match_indices("${").nth(order) {
            Some((at, _)) if raw[at..].starts_with(wanted) => {
                let start = span.start as usize + at + (range.start - anchor);
                Span::of(start..start + range.len())
            }
            _ => span,
        }
    }

    fn map(&mut self, entries: &[(Node<'_>, Node<'_>)], span: Span) -> Kind {
        let is_function = |key: &Node<'_>| {
            key.as_str()
                .is_some_and(|k| k.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("fn::")))
        };
        if let [(key, value)] = entries
            && is_function(key)
        {
            return self.call(key, value, span);
        }
        for (key, _) in entries.iter().filter(|(key, _)| is_function(key)) {
            let name = key.as_str().unwrap_or_default();
            let asset = find_builtin(name).is_some_and(|(_, b, _)| b.is_asset());
            let message = format!("`{name}` stands beside other keys, so it is not called");
            let hint = "give the function a map of its own".to_owned();
            if asset {
                self.report
                    .error(UNKNOWN_FUNCTION, key.span, message)
                    .hints
                    .push(hint);
            } else {
                self.report
                    .warn(UNKNOWN_FUNCTION, key.span, message)
                    .hints
                    .push(hint);
            }
        }
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries.iter().filter(|(key, _)| key.as_str().is_some()) {
            map.push((self.expression(key), self.expression(value)));
        }
        Kind::Map(map)
    }

    fn call(&mut self, key: &Node<'_>, value: &Node<'_>, span: Span) -> Kind {
        let name = key.as_str().unwrap_or_default().to_owned();
        if name.eq_ignore_ascii_case("fn::invoke") {
            self.check_case(&name, "fn::invoke", key.span);
            return self.invoke(value, key.span);
        }
        let Some((known, builtin, shape)) = find_builtin(&name) else {
            return self.short_invoke(&name, key.span, value);
        };
        self.check_case(&name, known, key.span);
        if *builtin == Builtin::StackReference {
            let hint =
                "declare a resource of type `pulumi:pulumi:StackReference` and use its `outputs`";
            self.report
                .warn(
                    DEPRECATED,
                    key.span,
                    "`fn::stackReference` is the old way to read another stack",
                )
                .hints
                .push(hint.to_owned());
        }
        let args = match (shape, &value.kind) {
            (Shape::One, _) => vec![self.expression(value)],
            (Shape::Two(_), yaml::Kind::List(items)) if items.len() == 2 => {
                items.iter().map(|i| self.expression(i)).collect()
            }
            (Shape::Two(_), yaml::Kind::Refused) => return Kind::Refused,
            (Shape::Two(words), _) => {
                self.report
                    .error(
                        WRONG_KIND,
                        value.span,
                        format!("`{known}` takes a list of two"),
                    )
                    .hints
                    .push(format!("write `{known}: [{words}]`"));
                return Kind::Refused;
            }
        };
        if *builtin == Builtin::StackReference && !matches!(args[0].kind, Kind::Text(_)) {
            let message = "the first item of `fn::stackReference` must be a plain text";
            self.report.error(WRONG_KIND, args[0].span, message);
            return Kind::Refused;
        }
        self.finish(span, Function::Builtin(*builtin), args)
    }

    fn check_case(&mut self, name: &str, known: &str, span: Span) {
        if name != known {
            self.report
                .warn(FIELD_CASE, span, format!("`{name}` is spelled `{known}`"))
                .hints
                .push(format!("rename it to `{known}`"));
        }
    }

    fn finish(&mut self, span: Span, function: Function, args: Vec<Expression>) -> Kind {
        let slot = *self.slots;
        *self.slots += 1;
        Kind::Call(Box::new(Call {
            span,
            slot,
            function,
            args,
        }))
    }

    /// `fn::pkg:mod:name: {arguments}`.
    fn short_invoke(&mut self, name: &str, span: Span, value: &Node<'_>) -> Kind {
        let token = &name[4..];
        let parts: Vec<&str> = token.split(':').collect();
        let invoke = matches!(parts.len(), 2 | 3) && parts.iter().all(|p| !p.is_empty());
        if !invoke {
            let near = did_you_mean(name, BUILTINS.iter().map(|(n, ..)| *n));
            let diagnostic =
                self.report
                    .error(UNKNOWN_FUNCTION, span, format!("unknown function `{name}`"));
            diagnostic.hints.push(match near {
                Some(near) => format!("did you mean `{near}`"),
                None => {
                    "a function of a package is written `fn::<package>:<module>:<name>`".to_owned()
                }
            });
            return Kind::Refused;
        }
        let args = self.arguments(Some(value), span);
        let invoke = Invoke {
            token: token.to_owned(),
            token_span: span,
            pick: None,
            version: None,
            parent: None,
            provider: None,
            depends_on: None,
        };
        self.finish(span, Function::Invoke(Box::new(invoke)), vec![args])
    }

    fn arguments(&mut self, node: Option<&Node<'_>>, span: Span) -> Expression {
        match node {
            Some(node) if node.kind != yaml::Kind::Null => self.expression(node),
            _ => Expression {
                span,
                kind: Kind::Map(Vec::new()),
            },
        }
    }

    fn invoke(&mut self, node: &Node<'_>, span: Span) -> Kind {
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind("fn::invoke", "a map", node);
            return Kind::Refused;
        };
        let fields = read_fields(
            &mut self.report,
            entries,
            INVOKE_FIELDS,
            "`fn::invoke`",
            Unknown::Warn,
        );
        let Some(function) = fields.get("function") else {
            self.report
                .error(MISSING_FIELD, span, "`fn::invoke` has no `function`")
                .hints
                .push("add `function: <package>:<module>:<name>`".to_owned());
            return Kind::Refused;
        };
        let Some(token) = self.report.string("function", function) else {
            return Kind::Refused;
        };
        let mut invoke = Invoke {
            token,
            token_span: function.span,
            pick: fields
                .get("return")
                .and_then(|n| self.report.string("return", n)),
            version: None,
            parent: None,
            provider: None,
            depends_on: None,
        };
        if let Some(options) = fields.get("options") {
            self.invoke_options(options, &mut invoke);
        }
        let args = self.arguments(fields.get("arguments"), span);
        self.finish(span, Function::Invoke(Box::new(invoke)), vec![args])
    }

    fn invoke_options(&mut self, node: &Node<'_>, invoke: &mut Invoke) {
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind("options", "a map", node);
            return;
        };
        let fields = read_fields(
            &mut self.report,
            entries,
            INVOKE_OPTIONS,
            "`options`",
            Unknown::Warn,
        );
        invoke.version = fields
            .get("version")
            .and_then(|n| self.report.string("version", n));
        invoke.parent = fields.get("parent").map(|n| self.expression(n));
        invoke.provider = fields.get("provider").map(|n| self.expression(n));
        invoke.depends_on = fields.get("dependsOn").map(|n| self.expression(n));
        if let Some((key, _)) = fields.entry("pluginDownloadURL") {
            let message = "`pluginDownloadURL` has no effect: packages are built in";
            self.report.warn(UNKNOWN_FIELD, key.span, message);
        }
    }
}
