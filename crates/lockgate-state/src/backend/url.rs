//! Backend URLs of project files: `file://` and a folder.

use std::path::{Path, PathBuf};

use crate::error::StateError;

/// The folder a backend URL names. `~` is the home folder of the user; a relative path starts at
/// `project`, the folder of the project file. Pure.
pub fn parse_backend_url(url: &str, home: &Path, project: &Path) -> Result<PathBuf, StateError> {
    let refuse = |why: &str| StateError::Name {
        what: "backend",
        name: url.to_owned(),
        why: why.to_owned(),
    };
    let path = url
        .strip_prefix("file://")
        .ok_or_else(|| refuse("only `file://` is supported"))?;
    match path.strip_prefix('~') {
        _ if path.is_empty() => Err(refuse("it names no folder")),
        Some("") => Ok(home.to_owned()),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => Ok(home.join(rest)),
            None => Err(refuse("home folders of other users are not looked up")),
        },
        None => Ok(project.join(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_absolute_relative_or_below_home() {
        let parse = |url| parse_backend_url(url, Path::new("/home/ada"), Path::new("/work"));
        for (url, folder) in [
            ("file:///var/stacks", "/var/stacks"),
            ("file://~", "/home/ada"),
            ("file://~/stacks", "/home/ada/stacks"),
            ("file://./stacks", "/work/./stacks"),
            ("file://stacks", "/work/stacks"),
        ] {
            assert_eq!(parse(url).unwrap(), Path::new(folder), "{url}");
        }
        for url in ["s3://bucket", "file://", "file://~bob/x", "/var/stacks"] {
            let diagnostic = parse(url).unwrap_err().to_diagnostic();
            assert!(diagnostic.message.contains(url));
            assert!(diagnostic.hints[0].contains("file://"));
        }
    }
}
