//! Rules that need no more than the text of one file.

use super::Finding;

/// Longest file; a test file holds data and may be longer.
const FILE_LINES_MAX: usize = 600;
const TEST_FILE_LINES_MAX: usize = 1000;
/// Longest function: what fits on two screens.
const FN_LINES_MAX: usize = 80;
/// Most kinds of an error: what has more is told apart by nobody.
const ERROR_VARIANTS_MAX: usize = 12;
/// Most bounds of an item: boxing at the border costs less than reading them.
const WHERE_LINES_MAX: usize = 4;
/// Files up to this length explain themselves.
const UNDOCUMENTED_LINES_MAX: usize = 50;

/// Checks one Rust file.
pub(super) fn check(file: &str, source: &str, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.lines().collect();
    let test = is_test(file);
    length(file, &lines, test, findings);
    if !test {
        functions(file, &lines, findings);
        errors(file, &lines, findings);
        bounds(file, &lines, findings);
    }
    words(file, &lines, test, findings);
    if lines.len() > UNDOCUMENTED_LINES_MAX && !source.starts_with("//!") {
        findings.push(finding(
            file,
            1,
            "the file does not say what it is for; open it with `//!`",
        ));
    }
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs") || file.contains("lockgate-testkit")
}

fn finding(file: &str, line: usize, text: &str) -> Finding {
    Finding {
        place: format!("{file}:{line}"),
        item: format!("{file}:{line}"),
        number: None,
        text: text.to_owned(),
    }
}

fn length(file: &str, lines: &[&str], test: bool, findings: &mut Vec<Finding>) {
    let limit = if test {
        TEST_FILE_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    if lines.len() > limit {
        findings.push(Finding {
            place: file.to_owned(),
            item: file.to_owned(),
            number: Some(lines.len()),
            text: format!(
                "{} lines, at most {limit}: a newcomer cannot hold it; split it by meaning",
                lines.len()
            ),
        });
    }
}

/// Functions end at the first closing brace in the column where they began: rustfmt sees to it.
fn functions(file: &str, lines: &[&str], findings: &mut Vec<Finding>) {
    let mut open: Option<(usize, usize, &str)> = None;
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some(name) = fn_name(line.trim_start())
            && !line.trim_end().ends_with(';')
        {
            open = Some((index, indent, name));
        } else if let Some((start, column, name)) = open
            && indent == column
            && line.trim() == "}"
        {
            let count = index - start + 1;
            if count > FN_LINES_MAX {
                findings.push(Finding {
                    place: format!("{file}:{}", start + 1),
                    item: format!("{file} fn {name}"),
                    number: Some(count),
                    text: format!(
                        "`{name}` has {count} lines, at most {FN_LINES_MAX}: name its parts"
                    ),
                });
            }
            open = None;
        }
    }
}

/// Variants of error enums: lines one step in, up to the closing brace in the column of the enum.
fn errors(file: &str, lines: &[&str], findings: &mut Vec<Finding>) {
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = enum_name(line).filter(|n| n.ends_with("Error") || n.ends_with("Fault"))
        else {
            continue;
        };
        let body = lines[start + 1..].iter().take_while(|l| **l != "}");
        let variant = |line: &&&str| {
            let inner = line.strip_prefix("    ");
            inner.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        let count = body.filter(variant).count();
        if count > ERROR_VARIANTS_MAX {
            findings.push(Finding {
                item: format!("{file} enum {name}"),
                number: Some(count),
                ..finding(
                    file,
                    start + 1,
                    &format!(
                        "`{name}` has {count} variants, at most {ERROR_VARIANTS_MAX}: one error per module, and one kind per thing that callers do"
                    ),
                )
            });
        }
    }
}

fn enum_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let rest = rest.strip_prefix("pub(super) ").unwrap_or(rest);
    let rest = rest.strip_prefix("pub ").unwrap_or(rest);
    rest.strip_prefix("enum ")?.split([' ', '<']).next()
}

/// Bounds of one item: lines after `where` up to its body.
fn bounds(file: &str, lines: &[&str], findings: &mut Vec<Finding>) {
    for (start, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, l)| l.trim() == "where")
    {
        let indent = line.len() - line.trim_start().len();
        let inner = |l: &&&str| l.len() - l.trim_start().len() > indent;
        let count = lines[start + 1..].iter().take_while(inner).count();
        if count > WHERE_LINES_MAX {
            let text = format!(
                "{count} lines of bounds, at most {WHERE_LINES_MAX}: box at the border instead"
            );
            findings.push(finding(file, start + 1, &text));
        }
    }
}

fn fn_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

fn words(file: &str, lines: &[&str], test: bool, findings: &mut Vec<Finding>) {
    // Built in parts, so that this file does not find itself.
    let ignore = concat!("#[", "ignore");
    let todo = concat!("TO", "DO");
    let sleeps = [concat!("thread::", "sleep("), concat!("time::", "sleep(")];
    for (index, line) in lines.iter().enumerate() {
        if line.contains(ignore) {
            let text = "an ignored test guards nothing; mend it or remove it";
            findings.push(finding(file, index + 1, text));
        }
        if line.contains(todo) && !line.contains(concat!("TO", "DO(#")) {
            let text = "a note to do without an issue gets lost; write the issue's number";
            findings.push(finding(file, index + 1, text));
        }
        if test && sleeps.iter().any(|s| line.contains(s)) {
            let text = "a sleep in a test is a guess; wait for an event or a condition";
            findings.push(finding(file, index + 1, text));
        }
    }
}
