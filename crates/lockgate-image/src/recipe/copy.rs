//! COPY and ADD: flags, sources, destination.

use lockgate_diag::Span;
use lockgate_diag::codes::image as codes;

use super::outline::find_from;
use super::stage::Evaluation;
use super::{Action, Copy, Origin};
use crate::dockerfile::expand::expand_body;
use crate::dockerfile::{Instruction, Keyword};

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path or pattern, expanded.
    Path { pattern: String, span: Span },
    /// A heredoc.
    Inline { name: String, body: String },
}

/// `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chmod {
    /// These bits.
    Octal(u32),
    /// Clauses such as `u=rwX,go=rX`.
    Symbolic(Vec<Clause>),
}

/// One symbolic clause: who, operator, what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u32,
    operator: u8,
    bits: u32,
    /// `X`: execute only for folders and files that have it for someone.
    conditional: bool,
}

impl Chmod {
    /// Parses `755`, `0755`, `u=rwX,go=rX`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|m| *m <= 0o7777)
                .map(Self::Octal);
        }
        text.split(',')
            .map(parse_clause)
            .collect::<Option<Vec<_>>>()
            .map(Self::Symbolic)
    }

    /// The new bits of a file or folder that has `mode`.
    pub(crate) fn apply(&self, mode: u32, folder: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| {
                let execute = clause.conditional && (folder || mode & 0o111 != 0);
                let bits = (clause.bits | if execute { 0o111 } else { 0 }) & clause.who;
                match clause.operator {
                    b'+' => mode | bits,
                    b'-' => mode & !bits,
                    _ => (mode & !(clause.who & 0o7777)) | bits,
                }
            }),
        }
    }
}

fn parse_clause(text: &str) -> Option<Clause> {
    let at = text.find(['+', '-', '='])?;
    let mut who = 0;
    for c in text[..at].chars() {
        who |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let who = if who == 0 { 0o7777 } else { who };
    let (mut bits, mut conditional) = (0, false);
    for c in text[at + 1..].chars() {
        match c {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => conditional = true,
            _ => return None,
        }
    }
    Some(Clause {
        who,
        operator: text.as_bytes()[at],
        bits,
        conditional,
    })
}

/// Evaluates COPY or ADD; mistakes are reported and give `None`.
pub(super) fn evaluate(work: &mut Evaluation<'_>, instruction: &Instruction) -> Option<Action> {
    let add = instruction.keyword == Keyword::Add;
    let words: Vec<(String, Span)> = match &instruction.json {
        Some(list) => list
            .iter()
            .map(|text| (text.clone(), instruction.rest.span))
            .collect(),
        None => instruction
            .words
            .iter()
            .map(|w| (w.text.clone(), w.span))
            .collect(),
    };
    let Some(((dest, dest_span), sources)) = words
        .split_last()
        .filter(|(_, sources)| !sources.is_empty())
    else {
        let message = format!(
            "`{}` needs a source and a destination",
            instruction.keyword.as_str()
        );
        work.error(codes::INSTRUCTION_ARGUMENTS, message, instruction.span);
        return None;
    };
    let dest = work.expand(dest, *dest_span)?;
    let mut copy = Copy {
        span: instruction.span,
        origin: Origin::Context,
        sources: Vec::new(),
        into: dest.ends_with('/') || dest.ends_with("/.") || dest == ".",
        dest: absolute(work.working_dir(), &dest),
        chmod: None,
        chown: None,
        exclude: Vec::new(),
        parents: false,
        link: false,
        unpack: add,
    };
    if sources.len() > 1 && !copy.into {
        let message = "several sources need a folder as destination, ending in `/`".to_owned();
        work.error(codes::INSTRUCTION_ARGUMENTS, message, *dest_span);
    }
    flags(work, instruction, &mut copy);
    let mut heredocs = instruction.heredocs.iter();
    for (text, span) in sources {
        if text.starts_with("<<") && instruction.json.is_none() && !instruction.heredocs.is_empty()
        {
            let heredoc = heredocs.next()?;
            let body = if heredoc.expand {
                work.check_secret(&heredoc.body, *span);
                match expand_body(&heredoc.body, work.escape(), work.scope()) {
                    Ok(body) => body,
                    Err(e) => {
                        work.error(codes::EXPANSION, e.0, *span);
                        continue;
                    }
                }
            } else {
                heredoc.body.clone()
            };
            copy.sources.push(Source::Inline {
                name: heredoc.name.clone(),
                body,
            });
            continue;
        }
        let pattern = work.expand(text, *span)?;
        if add && (pattern.contains("://") || pattern.starts_with("git@")) {
            work.remote_add(&pattern, *span);
            continue;
        }
        copy.sources.push(Source::Path {
            pattern,
            span: *span,
        });
    }
    Some(Action::Copy(copy))
}

fn flags(work: &mut Evaluation<'_>, instruction: &Instruction, copy: &mut Copy) {
    let add = instruction.keyword == Keyword::Add;
    for flag in &instruction.flags {
        let value = match &flag.value {
            Some(value) => work.expand(value, flag.span),
            None => None,
        };
        let text = value.as_deref().unwrap_or("");
        let on = match text {
            "" | "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        let known = match (flag.name.as_str(), on) {
            ("from", _) if !add => {
                copy.origin = match find_from(work.earlier(), text) {
                    Some(stage) => Origin::Stage(stage),
                    None => match work.image(text) {
                        Some(digest) => Origin::Image(digest),
                        None => continue,
                    },
                };
                true
            }
            ("chown", _) if !text.is_empty() => {
                copy.chown = value;
                true
            }
            ("chmod", _) => {
                copy.chmod = Chmod::parse(text);
                copy.chmod.is_some()
            }
            ("exclude", _) if !text.is_empty() => {
                copy.exclude.push(text.to_owned());
                true
            }
            ("link", Some(on)) => {
                copy.link = on;
                true
            }
            ("parents", Some(on)) if !add => {
                copy.parents = on;
                true
            }
            ("unpack", Some(on)) if add => {
                copy.unpack = on;
                true
            }
            _ => false,
        };
        if !known {
            let message = format!(
                "`{}` cannot use the flag `--{}`",
                instruction.keyword.as_str(),
                flag.name
            );
            work.error(codes::INSTRUCTION_ARGUMENTS, message, flag.span);
        }
    }
}

/// `path` below `folder` unless absolute, cleaned; `..` stops at the root. Starts with a slash.
pub(super) fn absolute(folder: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
