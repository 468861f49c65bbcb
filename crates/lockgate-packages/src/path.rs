//! Property paths in the engine's form: `a.b[0]["odd key"]`.

/// The path of a member of the map at `path`.
pub(crate) fn member(path: &str, name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_' || c == '$')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    match (plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{path}[\"{escaped}\"]")
        }
    }
}

/// The path of an item of the list at `path`.
pub(crate) fn index(path: &str, item: usize) -> String {
    format!("{path}[{item}]")
}

#[cfg(test)]
mod tests {
    use lockgate_engine::path::{PropertyPath, Segment};

    use super::*;

    #[test]
    fn the_engine_reads_what_is_written_here() {
        for name in [
            "plain",
            "x-api-key",
            "a.b",
            "say \"hi\"",
            "back\\slash",
            "1st",
            "",
        ] {
            let path = index(&member("env", name), 2);
            let parsed = PropertyPath::parse(&path).expect("a path of the engine's form");
            let key = |text: &str| Segment::Key(text.to_owned());
            assert_eq!(
                parsed.0,
                [key("env"), key(name), Segment::Index(2)],
                "{path}"
            );
        }
    }
}
