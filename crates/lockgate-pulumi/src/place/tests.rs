//! Which files are shown, and which line of them.

use std::os::unix::fs::symlink;

use super::*;

fn place(root: &Path, path: &str, line: i32, column: i32) -> Option<SourcePlace> {
    let given = SourcePosition {
        uri: format!("file://{}/{path}", root.display()),
        line,
        column,
    };
    SourcePlace::new(&given, &SourceFiles::new(root))
}

/// The text under the label.
fn seen(root: &Path, path: &str, line: i32, column: i32) -> Option<String> {
    let labels = place(root, path, line, column)?.find("any");
    let label = labels.first()?;
    let range = label.span.start as usize..label.span.end as usize;
    label.file.text.get(range).map(str::to_owned)
}

#[test]
fn a_line_is_shown_from_its_column_or_its_first_letter() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path();
    fs_err::write(root.join("main.py"), "one\n  twö = x()\r\n\nlast").expect("file");
    for (line, column, text) in [
        (1, 0, Some("one")),
        (2, 0, Some("twö = x()")),
        (2, 9, Some("x()")),
        (2, 500, Some("twö = x()")),
        (2, -4, Some("twö = x()")),
        (4, 1, Some("last")),
        (3, 0, None),
        (5, 0, None),
        (0, 0, None),
        (i32::MIN, 0, None),
        (i32::MAX, i32::MAX, None),
    ] {
        let found = seen(root, "main.py", line, column);
        assert_eq!(found.as_deref(), text, "{line},{column}");
    }
}

#[test]
fn nothing_outside_the_project_folder_is_read() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path().join("project");
    fs_err::create_dir_all(root.join("infra")).expect("folders");
    fs_err::write(dir.path().join("secret.py"), "token").expect("file");
    fs_err::write(root.join("infra/main.py"), "inside").expect("file");
    symlink("../secret.py", root.join("out.py")).expect("link");
    symlink(dir.path().join("secret.py"), root.join("far.py")).expect("link");
    symlink("..", root.join("up")).expect("link");
    symlink("infra/main.py", root.join("in.py")).expect("link");
    assert_eq!(
        seen(&root, "infra/main.py", 1, 0).as_deref(),
        Some("inside")
    );
    assert_eq!(seen(&root, "in.py", 1, 0).as_deref(), Some("inside"));
    for path in [
        "out.py",
        "far.py",
        "up/secret.py",
        "../secret.py",
        "infra/../../secret.py",
    ] {
        assert_eq!(seen(&root, path, 1, 0), None, "{path}");
    }
    assert!(place(dir.path(), "../etc/passwd", 1, 0).is_some());
    let other = SourcePosition {
        uri: "file:///etc/passwd".to_owned(),
        line: 1,
        column: 0,
    };
    assert!(SourcePlace::new(&other, &SourceFiles::new(&root)).is_none());
}

#[test]
fn positions_are_uris() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path().join("my shöp");
    fs_err::create_dir_all(&root).expect("folder");
    fs_err::write(root.join("100% a.py"), "here").expect("file");
    fs_err::write(root.join("\u{1b}[2J.py"), "here").expect("file");
    let files = SourceFiles::new(&root);
    let at = |uri: String| {
        let column = 0;
        SourcePlace::new(
            &SourcePosition {
                uri,
                line: 1,
                column,
            },
            &files,
        )
    };
    let folder = dir.path().display();
    let place = at(format!("file://{folder}/my%20sh%C3%B6p/100%25%20a.py")).expect("inside");
    assert_eq!(place.position(), "project:///100%25%20a.py#1,0");
    assert_eq!(place.find("").len(), 1);
    for outside in [
        format!("file://{folder}/my%20sh%C3%B6p"),
        format!("file://{folder}/my%20shop/a.py"),
        format!("file://{folder}/my%20sh%C3%B6p2/a.py"),
        format!("file://{folder}/my%2/a.py"),
        format!("file://{folder}/%ff/a.py"),
        format!("http://{folder}/my%20sh%C3%B6p/a.py"),
    ] {
        assert!(at(outside.clone()).is_none(), "{outside}");
    }
    for odd in ["%2", "%zz", "%c3", "%2e%2e/x.py", "%00", "%1b[2J.py"] {
        let place = at(format!("file://{folder}/my%20sh%C3%B6p/{odd}")).expect("inside");
        assert_eq!(place.find(""), [], "{odd}");
    }
}

#[test]
fn what_is_no_text_file_of_a_program_is_not_shown() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path();
    let limit = usize::try_from(FILE_BYTES_MAX).expect("fits");
    fs_err::write(root.join("large.py"), "x".repeat(limit)).expect("file");
    fs_err::write(root.join("larger.py"), "x".repeat(limit + 1)).expect("file");
    fs_err::write(root.join("bytes.py"), [b'x', 0xff]).expect("file");
    fs_err::create_dir(root.join("folder.py")).expect("folder");
    let pipe = rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe.py"), Mode::RUSR);
    pipe.expect("a pipe that no one writes to");
    assert!(seen(root, "large.py", 1, 0).is_some());
    for path in [
        "larger.py",
        "bytes.py",
        "folder.py",
        "pipe.py",
        "missing.py",
        "",
    ] {
        assert_eq!(seen(root, path, 1, 0), None, "{path}");
    }
}

#[test]
fn only_so_many_files_are_read_and_each_once() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path();
    let files = SourceFiles::new(root);
    for index in 0..=FILES_MAX {
        fs_err::write(root.join(format!("{index}.py")), "one").expect("file");
        assert_eq!(
            files.get(&format!("{index}.py")).is_some(),
            index < FILES_MAX
        );
    }
    fs_err::write(root.join("0.py"), "two").expect("file");
    assert_eq!(files.get("0.py").expect("known").text, "one");
}
