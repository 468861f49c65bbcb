//! Finds the route of a request: host, then path, then conditions.
//!
//! Precedence: exact host before wildcard (longest first) before any; exact path, then the longest
//! prefix by whole segments, then regular expressions in the order stated; then routes with a
//! method, with more headers, with more query parameters; ties by name.

use std::collections::HashMap;

use regex::Regex;

use super::Conditions;

/// Deepest path of a route, in segments. Also bounds the walk of every request.
pub(crate) const SEGMENTS_MAX: usize = 64;

/// All hosts.
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) exact: HashMap<Box<str>, Site>,
    /// By suffix with its dot: `.example.org`.
    pub(crate) wildcard: HashMap<Box<str>, Site>,
    pub(crate) any: Site,
}

/// The routes of one host.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) root: Node,
    pub(crate) regexes: Vec<(Regex, u32)>,
}

/// One segment of the path trie. Candidates are in order of precedence.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) children: HashMap<Box<str>, Node>,
    pub(crate) exact: Vec<u32>,
    pub(crate) prefix: Vec<u32>,
}

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Lower case, without port.
    pub(crate) host: &'a str,
    /// Normal form.
    pub(crate) path: &'a str,
    /// As sent, without the `?`.
    pub(crate) query: &'a str,
    pub(crate) fields: &'a [httparse::Header<'a>],
}

/// Why no route was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    NoRoute,
    /// Host and path match; these methods would too.
    Method(Vec<u32>),
}

impl Router {
    /// Index of the route that takes the request; `conditions` gives those of a route.
    pub(crate) fn find<'t>(
        &self,
        asked: Asked<'_>,
        conditions: impl Fn(u32) -> &'t Conditions + Copy,
    ) -> Result<u32, Miss> {
        let mut wrong_method = Vec::new();
        let exact = (!self.exact.is_empty())
            .then(|| self.exact.get(asked.host))
            .flatten();
        if let Some(found) = exact.and_then(|s| s.find(asked, conditions, &mut wrong_method)) {
            return Ok(found);
        }
        if !self.wildcard.is_empty() {
            for (at, _) in asked.host.match_indices('.') {
                let site = self.wildcard.get(&asked.host[at..]);
                if let Some(found) = site.and_then(|s| s.find(asked, conditions, &mut wrong_method))
                {
                    return Ok(found);
                }
            }
        }
        match self.any.find(asked, conditions, &mut wrong_method) {
            Some(found) => Ok(found),
            None if wrong_method.is_empty() => Err(Miss::NoRoute),
            None => Err(Miss::Method(wrong_method)),
        }
    }
}

impl Site {
    fn find<'t>(
        &self,
        asked: Asked<'_>,
        conditions: impl Fn(u32) -> &'t Conditions,
        wrong_method: &mut Vec<u32>,
    ) -> Option<u32> {
        let mut survives = |candidates: &[u32]| {
            candidates
                .iter()
                .copied()
                .find(|index| match test(conditions(*index), asked) {
                    Verdict::Takes => true,
                    Verdict::WrongMethod => {
                        wrong_method.push(*index);
                        false
                    }
                    Verdict::Refuses => false,
                })
        };
        let mut walked = [&self.root; SEGMENTS_MAX + 1];
        let mut depth = 0;
        let mut whole = true;
        for segment in asked.path.split('/').skip(1) {
            let child = walked[depth].children.get(segment);
            let (Some(child), true) = (child, depth < SEGMENTS_MAX) else {
                whole = false;
                break;
            };
            depth += 1;
            walked[depth] = child;
        }
        whole
            .then(|| survives(&walked[depth].exact))
            .flatten()
            .or_else(|| {
                walked[..=depth]
                    .iter()
                    .rev()
                    .find_map(|node| survives(&node.prefix))
            })
            .or_else(|| {
                self.regexes
                    .iter()
                    .filter(|(regex, _)| regex.is_match(asked.path))
                    .find_map(|(_, index)| survives(&[*index]))
            })
    }
}

enum Verdict {
    Takes,
    WrongMethod,
    Refuses,
}

/// Tests the conditions of one candidate. Every occurrence of a field or parameter is looked at.
fn test(conditions: &Conditions, asked: Asked<'_>) -> Verdict {
    let headers = conditions.headers.iter().all(|(name, value)| {
        asked.fields.iter().any(|field| {
            field.name.eq_ignore_ascii_case(name)
                && value.as_ref().is_none_or(|v| v.as_bytes() == field.value)
        })
    });
    let query = || {
        conditions.query.iter().all(|(name, value)| {
            asked.query.split('&').any(|pair| {
                let (have, text) = pair.split_once('=').unwrap_or((pair, ""));
                have == &**name && value.as_ref().is_none_or(|v| **v == *text)
            })
        })
    };
    if !headers || !query() {
        Verdict::Refuses
    } else if conditions.methods.is_empty()
        || conditions.methods.iter().any(|m| **m == *asked.method)
    {
        Verdict::Takes
    } else {
        Verdict::WrongMethod
    }
}
