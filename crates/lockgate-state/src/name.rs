//! Names of stacks and the folders they live in.

use std::fmt;

use crate::error::StateError;

/// The longest project or stack name, bytes. File systems allow 255 for one component; the rest
/// is left for the suffixes of temporary files.
const NAME_BYTES_MAX: usize = 100;

/// A project and one of its stacks, both checked: letters, digits, `_`, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackName {
    project: String,
    stack: String,
}

impl StackName {
    /// Checks both names. The error names the first character that is not allowed.
    pub fn new(project: &str, stack: &str) -> Result<Self, StateError> {
        check_part("project", project)?;
        check_part("stack", stack)?;
        Ok(Self {
            project: project.to_owned(),
            stack: stack.to_owned(),
        })
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The stack within the project.
    pub fn stack(&self) -> &str {
        &self.stack
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.stack)
    }
}

fn check_part(what: &'static str, name: &str) -> Result<(), StateError> {
    let refuse = |why: String| StateError::Name {
        what,
        name: name.to_owned(),
        why,
    };
    if name.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(refuse(format!("it is longer than {NAME_BYTES_MAX} bytes")));
    }
    if let Some(bad) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
    {
        return Err(refuse(format!("`{}` is not allowed", bad.escape_debug())));
    }
    Ok(())
}

/// The folder name of a checked name. A leading dot is escaped, so that `.` and `..` are names
/// like others and dot files stay free for folders that are being made or removed.
pub(crate) fn encode_folder(name: &str) -> String {
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name.to_owned(),
    }
}

/// The name behind a folder name; `None` for folders that are no stack.
pub(crate) fn decode_folder(folder: &str) -> Option<String> {
    let name = match folder.strip_prefix("%2E") {
        Some(rest) => format!(".{rest}"),
        None if folder.starts_with('.') => return None,
        None => folder.to_owned(),
    };
    check_part("stack", &name).ok().map(|()| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_refused_or_escaped() {
        for bad in ["", "a/b", "a b", "ä", "a\0", &"x".repeat(101)] {
            assert!(StackName::new("p", bad).is_err(), "{bad:?}");
            assert!(StackName::new(bad, "s").is_err(), "{bad:?}");
        }
        for name in [".", "..", "dev", ".x", "A-1_b.c"] {
            StackName::new("p", name).unwrap();
            let folder = encode_folder(name);
            assert!(!folder.starts_with('.'));
            assert_eq!(decode_folder(&folder).as_deref(), Some(name));
        }
        assert_eq!(decode_folder(".new-1"), None);
    }
}
