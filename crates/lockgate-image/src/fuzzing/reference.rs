//! Slow matchers that try everything.

/// Whether an ignore file excludes a path: the last pattern that matches the path or a folder
/// above it decides.
pub(super) fn excludes(file: &str, path: &str) -> bool {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    let ways: Vec<&str> = ends.map(|end| &path[..end]).collect();
    let mut excluded = false;
    for line in file.lines() {
        let line = line.trim_start_matches('\u{feff}');
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let line = line.trim();
        let (include, pattern) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let Some(pattern) = cleaned(pattern) else {
            continue;
        };
        if ways.iter().any(|way| one(&pattern, way)) {
            excluded = !include;
        }
    }
    excluded
}

/// Without empty, `.` and `..` components; `None` when nothing is left.
fn cleaned(pattern: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if kept.is_empty() && !pattern.starts_with('/') => return Some("..".to_owned()),
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    (!kept.is_empty()).then(|| kept.join("/"))
}

fn one(pattern: &str, path: &str) -> bool {
    let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
    if let Some(end) = pattern.strip_prefix("**").filter(|end| plain(end)) {
        return path.ends_with(end) || end.strip_prefix('/') == Some(path);
    }
    if let Some(start) = pattern.strip_suffix("**").filter(|start| plain(start)) {
        return path.starts_with(start);
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    Try { across: true }.run(&pattern, &path)
}

/// Whether a pattern of one component matches a name.
pub(super) fn component(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    Try { across: false }.run(&pattern, &name)
}

/// Matches by a table over both texts: is the rest of the pattern the rest of the text?
struct Try {
    /// `*` stops at slashes and `**` crosses them.
    across: bool,
}

impl Try {
    fn run(&self, pattern: &[char], text: &[char]) -> bool {
        let mut known = vec![None; (pattern.len() + 1) * (text.len() + 1)];
        self.rest(pattern, text, 0, 0, &mut known)
    }

    fn rest(
        &self,
        pattern: &[char],
        text: &[char],
        p: usize,
        t: usize,
        known: &mut [Option<bool>],
    ) -> bool {
        let cell = p * (text.len() + 1) + t;
        if let Some(verdict) = known[cell] {
            return verdict;
        }
        let mut next = |p: usize, t: usize| self.rest(pattern, text, p, t, known);
        let verdict = match pattern.get(p) {
            None => t == text.len(),
            Some('*') if self.across && pattern.get(p + 1) == Some(&'*') => {
                let after = p + 2 + usize::from(pattern.get(p + 2) == Some(&'/'));
                if after == pattern.len() {
                    true
                } else {
                    let starts = (t..text.len()).filter(|at| text[*at] == '/');
                    next(after, t) || starts.map(|at| at + 1).any(|at| next(after, at))
                }
            }
            Some('*') => {
                let end = text[t..].iter().position(|c| self.across && *c == '/');
                let end = t + end.unwrap_or(text.len() - t);
                (t..=end).any(|at| next(p + 1, at))
            }
            Some('?') => t < text.len() && !(self.across && text[t] == '/') && next(p + 1, t + 1),
            Some('[') => match class(&pattern[p..], text.get(t).copied()) {
                Some((width, true)) => next(p + width, t + 1),
                _ => false,
            },
            Some('\\') => text.get(t) == pattern.get(p + 1) && t < text.len() && next(p + 2, t + 1),
            Some(c) => text.get(t) == Some(c) && next(p + 1, t + 1),
        };
        known[cell] = Some(verdict);
        verdict
    }
}

/// The length of the class at the start of `pattern`, and whether `c` is in it.
fn class(pattern: &[char], c: Option<char>) -> Option<(usize, bool)> {
    let c = c?;
    let negated = pattern.get(1) == Some(&'^');
    let mut at = 1 + usize::from(negated);
    let mut found = false;
    let take = |at: &mut usize| {
        if pattern.get(*at) == Some(&'\\') {
            *at += 1;
        }
        let c = pattern.get(*at).copied();
        *at += 1;
        c
    };
    while pattern.get(at)? != &']' {
        let low = take(&mut at)?;
        let high = if pattern.get(at) == Some(&'-') {
            at += 1;
            take(&mut at)?
        } else {
            low
        };
        found |= low <= c && c <= high;
    }
    Some((at + 1, found != negated))
}
