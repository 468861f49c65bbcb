//! YAML text to a tree with a place for every node (yaml guide, sections 2 and 3).
//!
//! In: a source file. Out: the tree, as far as it could be built, and every mistake found on the
//! way. Syntax mistakes and limits are fatal to the file, because the scanner cannot resume;
//! duplicate keys, aliases, merge keys and keys that are no strings are collected.

mod fields;
mod scalar;
mod syntax;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};
use lockgate_diag::codes::program::{DUPLICATE_KEY, YAML_SYNTAX, YAML_UNSUPPORTED};
use lockgate_diag::{Diagnostic, SourceFile, Span};

pub use fields::{Fields, Report, Unknown, read_fields};
pub use scalar::is_precise;

/// Largest file in bytes: far above any program seen, and a bound on memory.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most nodes of one file: a megabyte of `[a,a,…` must not cost gigabytes.
pub const NODES_MAX: usize = 1_000_000;
/// Below this many keys of a map, comparing pairs is faster than hashing.
const PAIRWISE_KEYS_MAX: usize = 12;

/// One value of the file and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'src> {
    /// Bytes of the value: quotes inside, tag and anchor outside. Empty for a missing value.
    pub span: Span,
    /// What it is.
    pub kind: Kind<'src>,
}

/// What a node is, after the scalar rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'src> {
    /// Empty, `~`, `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Text.
    String(Cow<'src, str>),
    /// A list.
    List(Vec<Node<'src>>),
    /// A map in file order; repeated keys are still in it.
    Map(Vec<(Node<'src>, Node<'src>)>),
    /// Something that was reported already; say nothing more about it.
    Refused,
}

impl<'src> Node<'src> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&[(Node<'src>, Node<'src>)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The kind as a word for messages: `a string`, `a list` …
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Refused => "a refused value",
        }
    }
}

/// Parses `file`. An empty file is a null node. The tree is `None` when the file cannot be used.
pub fn parse(file: &Arc<SourceFile>) -> (Option<Node<'_>>, Vec<Diagnostic>) {
    if file.text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file has {} bytes, the limit is {FILE_BYTES_MAX}",
            file.text.len()
        );
        return (
            None,
            vec![Diagnostic::error(YAML_SYNTAX, message).at(file, Span::default(), "")],
        );
    }
    let mut options = Options::default();
    // Without it a last block scalar loses or gains a line feed against the original.
    options.block_scalar_eof_without_line_feed = true;
    // An alias to nothing must be reported as an alias, not as a syntax mistake.
    options.emit_unresolved_aliases = true;
    let mut builder = Builder::new(file);
    for event in Parser::new_from_str_with_options(&file.text, options) {
        let flow = match event {
            Ok((event, span)) => builder.take(event, place(&span)),
            Err(error) => Err(Box::new(syntax::translate(file, &error))),
        };
        if let Err(fatal) = flow {
            builder.found.push(*fatal);
            return (None, builder.found);
        }
    }
    let root = builder.root.unwrap_or(Node {
        span: Span::default(),
        kind: Kind::Null,
    });
    (Some(root), builder.found)
}

/// Like [`parse`], for files whose top level must be a map.
pub fn parse_map(file: &Arc<SourceFile>) -> (Option<Node<'_>>, Vec<Diagnostic>) {
    let (tree, mut found) = parse(file);
    let Some(tree) = tree else {
        return (None, found);
    };
    if tree.as_map().is_some() {
        return (Some(tree), found);
    }
    let message = match tree.kind {
        Kind::Null => "the file is empty, expected a map".to_owned(),
        _ => format!("the file must be a map, found {}", tree.kind_name()),
    };
    found.push(Diagnostic::error(YAML_SYNTAX, message).at(
        file,
        tree.span,
        "expected `key: value`",
    ));
    (None, found)
}

fn place(span: &granit_parser::Span) -> Span {
    let start = span.start.byte_offset().unwrap_or_default();
    let end = span.end.byte_offset().unwrap_or(start);
    Span::of(start..end.max(start))
}

/// A collection that is still open. What is in it so far lies on the builder's stacks, from `base`
/// on: a finished collection is then allocated once, at its size.
enum Frame<'src> {
    List {
        start: Span,
        base: usize,
    },
    Map {
        start: Span,
        base: usize,
        key: Option<Node<'src>>,
    },
}

struct Builder<'src> {
    file: &'src Arc<SourceFile>,
    open: Vec<Frame<'src>>,
    /// Items of the open lists, innermost last.
    items: Vec<Node<'src>>,
    /// Entries of the open maps, innermost last.
    entries: Vec<(Node<'src>, Node<'src>)>,
    root: Option<Node<'src>>,
    documents: usize,
    nodes: usize,
    found: Vec<Diagnostic>,
}

impl<'src> Builder<'src> {
    fn new(file: &'src Arc<SourceFile>) -> Self {
        Self {
            file,
            open: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            root: None,
            documents: 0,
            nodes: 0,
            found: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'src>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::DocumentStart(..) => self.documents += 1,
            Event::Scalar(text, style, _, tag) => {
                let kind = self.scalar(text, style, tag.as_deref(), span);
                self.add(Node { span, kind })?;
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let name = &self.file.text[span.start as usize..span.end as usize];
                let name = name.trim_start_matches('*').trim();
                self.found.push(
                    Diagnostic::error(YAML_UNSUPPORTED, "aliases are not supported in programs")
                        .at(self.file, span, "")
                        .hint(format!(
                            "declare the value under `variables` and write `${{{name}}}`"
                        )),
                );
                self.add(Node {
                    span,
                    kind: Kind::Refused,
                })?;
            }
            Event::SequenceStart(..) => self.open.push(Frame::List {
                start: span,
                base: self.items.len(),
            }),
            Event::MappingStart(..) => self.open.push(Frame::Map {
                start: span,
                base: self.entries.len(),
                key: None,
            }),
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'src, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Kind<'src> {
        let plain = style == ScalarStyle::Plain;
        let kind = match scalar::resolve(text, plain, tag) {
            Ok(kind) => kind,
            Err(message) => {
                self.found
                    .push(Diagnostic::error(YAML_UNSUPPORTED, message).at(self.file, span, ""));
                Kind::Refused
            }
        };
        if let Kind::Number(number) = kind
            && plain
            && let Some(warning) = scalar::check_precision(self.file, span, number)
        {
            self.found.push(warning);
        }
        kind
    }

    fn close(&mut self, end: Span) -> Result<(), Box<Diagnostic>> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let node = match frame {
            Frame::List { start, base } => {
                let items: Vec<Node<'src>> = self.items.drain(base..).collect();
                let last = items.last().map(|n| n.span.end);
                Node {
                    span: self.extent(start, last, end),
                    kind: Kind::List(items),
                }
            }
            Frame::Map { start, base, .. } => {
                let entries: Vec<_> = self.entries.drain(base..).collect();
                let last = entries.last().map(|(_, v)| v.span.end);
                self.check_duplicates(&entries);
                Node {
                    span: self.extent(start, last, end),
                    kind: Kind::Map(entries),
                }
            }
        };
        self.add(node)
    }

    /// A block collection ends where its last child ends, a flow one behind its bracket.
    fn extent(&self, start: Span, last: Option<u32>, end: Span) -> Span {
        let bytes = self.file.text.as_bytes();
        let flow = matches!(bytes.get(start.start as usize), Some(b'[' | b'{'));
        let stop = match last {
            Some(last) if !flow => last,
            _ => end.end,
        };
        Span::new(start.start, stop.max(start.start))
    }

    fn add(&mut self, node: Node<'src>) -> Result<(), Box<Diagnostic>> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values");
            return Err(Box::new(
                Diagnostic::error(YAML_SYNTAX, message).at(self.file, node.span, ""),
            ));
        }
        match self.open.last_mut() {
            None if self.documents <= 1 => self.root = Some(node),
            None => self.further_document(&node),
            Some(Frame::List { .. }) => self.items.push(node),
            Some(Frame::Map { key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(name) => {
                    let name = check_key(self.file, name, &node, &mut self.found);
                    self.entries.push((name, node));
                }
            },
        }
        Ok(())
    }

    fn further_document(&mut self, node: &Node<'_>) {
        if node.kind != Kind::Null {
            self.found.push(
                Diagnostic::error(YAML_UNSUPPORTED, "a file may hold one document only")
                    .at(self.file, node.span, "a further document starts here")
                    .hint("remove the `---` or move the text to a file of its own"),
            );
        }
    }

    fn check_duplicates(&mut self, entries: &[(Node<'_>, Node<'_>)]) {
        let mut report = |name: &str, first: Span, again: Span| {
            self.found.push(duplicate(self.file, name, first, again));
        };
        if entries.len() <= PAIRWISE_KEYS_MAX {
            for (index, (key, _)) in entries.iter().enumerate() {
                if let Some(name) = key.as_str()
                    && let Some((first, _)) = entries[..index]
                        .iter()
                        .find(|(k, _)| k.as_str() == Some(name))
                {
                    report(name, first.span, key.span);
                }
            }
            return;
        }
        let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
        for (key, _) in entries {
            if let Some(name) = key.as_str() {
                match seen.get(name) {
                    Some(first) => report(name, *first, key.span),
                    None => {
                        seen.insert(name, key.span);
                    }
                }
            }
        }
    }
}

fn duplicate(file: &Arc<SourceFile>, name: &str, first: Span, again: Span) -> Diagnostic {
    Diagnostic::error(DUPLICATE_KEY, format!("key `{name}` is set twice"))
        .at(file, again, "")
        .at(file, first, "first set here")
        .hint("remove one of them")
}

/// Keys must be strings; others would mean different things to other readers of the file.
fn check_key<'src>(
    file: &Arc<SourceFile>,
    key: Node<'src>,
    value: &Node<'_>,
    found: &mut Vec<Diagnostic>,
) -> Node<'src> {
    let raw = file
        .text
        .get(key.span.start as usize..key.span.end as usize)
        .unwrap_or_default();
    let refused = match &key.kind {
        Kind::String(_) if raw == "<<" => {
            Diagnostic::error(YAML_UNSUPPORTED, "merge keys are not supported in programs")
                .at(file, key.span, "")
                .hint("repeat the values, or declare them under `variables`")
        }
        Kind::String(_) | Kind::Refused => return key,
        _ => {
            let shown = match key.kind {
                Kind::Number(_) | Kind::Bool(_) => format!("{} {raw}", key.kind_name()),
                _ => key.kind_name().to_owned(),
            };
            let shown = shown.replacen("a ", "the ", 1);
            let rest = file
                .text
                .get(value.span.start as usize..value.span.end as usize)
                .filter(|v| !v.contains('\n') && v.len() <= 40)
                .unwrap_or_default();
            let example = format!("\"{raw}\": {rest}");
            let hint = match key.kind {
                Kind::List(_) | Kind::Map(_) => "write the key as text in quotes".to_owned(),
                _ => format!("write `{}`", example.trim_end()),
            };
            Diagnostic::error(
                YAML_UNSUPPORTED,
                format!("key must be a string, found {shown}"),
            )
            .at(file, key.span, "")
            .hint(hint)
        }
    };
    found.push(refused);
    Node {
        span: key.span,
        kind: Kind::Refused,
    }
}

#[cfg(test)]
mod tests;
