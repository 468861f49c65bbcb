//! Property paths, as the engine and its displays write them: `a.b[0]["odd key"]`.

/// The path of a member of the map at `path`.
pub(crate) fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-$".contains(&b));
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
