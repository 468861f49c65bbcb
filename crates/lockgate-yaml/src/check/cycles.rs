//! Dependency cycles: one diagnostic per group of entries that need each other.

use std::collections::VecDeque;
use std::sync::Arc;

use lockgate_diag::codes::program::DEPENDENCY_CYCLE;
use lockgate_diag::{Diagnostic, SourceFile, Span};

/// Most references labelled in one diagnostic; more would not fit on a screen.
const LABELS_MAX: usize = 8;
/// Most cycles looked for; nobody reads more, and each costs a walk over the program.
const GROUPS_MAX: usize = 50;

/// A name and the file it stands in.
pub(super) type Vertex<'p> = (&'p str, usize);

/// Reports the cycles in `edges`: for each vertex what it needs and where it says so.
pub(super) fn check(
    files: &[Arc<SourceFile>],
    vertices: &[Vertex<'_>],
    edges: &[Vec<(usize, Span)>],
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let needs: Vec<Vec<usize>> = edges
        .iter()
        .map(|list| list.iter().map(|(to, _)| *to).collect())
        .collect();
    let mut users = vec![Vec::new(); edges.len()];
    for (index, list) in needs.iter().enumerate() {
        for to in list {
            users[*to].push(index);
        }
    }
    let mut rest = in_or_between_cycles(&needs, &users);
    let mut groups = 0;
    for start in 0..edges.len() {
        if !rest[start] {
            continue;
        }
        if groups == GROUPS_MAX {
            break;
        }
        let Some(path) = shortest_cycle(start, &needs, &rest) else {
            continue;
        };
        found.push(report(files, vertices, edges, &path));
        groups += 1;
        // Members reach the start and are reached by it; they belong to this report.
        let (forward, backward) = (reach(start, &needs, &rest), reach(start, &users, &rest));
        for (member, open) in rest.iter_mut().enumerate() {
            *open &= !(forward[member] && backward[member]);
        }
        rest[start] = false;
    }
    found
}

/// Entries that cannot be ordered: what is left when all that could start has started.
fn in_or_between_cycles(needs: &[Vec<usize>], users: &[Vec<usize>]) -> Vec<bool> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..needs.len()).filter(|i| missing[*i] == 0).collect();
    let mut rest = vec![true; needs.len()];
    while let Some(index) = ready.pop() {
        rest[index] = false;
        for user in &users[index] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    rest
}

fn reach(start: usize, edges: &[Vec<usize>], within: &[bool]) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![start];
    while let Some(index) = open.pop() {
        for to in &edges[index] {
            if within[*to] && !seen[*to] {
                seen[*to] = true;
                open.push(*to);
            }
        }
    }
    seen
}

/// The shortest way from `start` back to it, without the repeat at its end.
fn shortest_cycle(start: usize, edges: &[Vec<usize>], within: &[bool]) -> Option<Vec<usize>> {
    let mut from = vec![None; edges.len()];
    let mut open = VecDeque::from([start]);
    while let Some(index) = open.pop_front() {
        for to in &edges[index] {
            if *to == start {
                let mut path = vec![index];
                let mut at = index;
                while at != start {
                    at = from[at]?;
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            if within[*to] && from[*to].is_none() {
                from[*to] = Some(index);
                open.push_back(*to);
            }
        }
    }
    None
}

fn report(
    files: &[Arc<SourceFile>],
    vertices: &[Vertex<'_>],
    edges: &[Vec<(usize, Span)>],
    path: &[usize],
) -> Diagnostic {
    let names: Vec<String> = path
        .iter()
        .chain(path.first())
        .map(|i| format!("`{}`", vertices[*i].0))
        .collect();
    let message = format!("dependency cycle {}", names.join(" → "));
    let mut diagnostic = Diagnostic::error(DEPENDENCY_CYCLE, message);
    for (position, index) in path.iter().enumerate().take(LABELS_MAX) {
        let next = path[(position + 1) % path.len()];
        if let Some((_, span)) = edges[*index].iter().find(|(to, _)| *to == next) {
            let (name, file) = vertices[*index];
            let text = format!("`{name}` needs `{}`", vertices[next].0);
            diagnostic = diagnostic.at(&files[file], *span, text);
        }
    }
    diagnostic.hint("remove one of these references")
}
