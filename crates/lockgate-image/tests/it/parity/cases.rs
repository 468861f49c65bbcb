//! The Dockerfiles: `tests/parity/*.txt`, one group a file, one case after each `===`.

use std::path::{Path, PathBuf};

/// Added to what would have no layer.
const LAYER: &str = "COPY a.txt /layer\n";

/// Cases under one heading.
pub(super) struct Group {
    pub(super) title: String,
    pub(super) cases: Vec<Case>,
}

/// One Dockerfile with what belongs to it.
#[derive(Default)]
pub(super) struct Case {
    pub(super) title: String,
    /// The Dockerfile; `BASE`, `FULL` and `TRIGGERS` stand for images.
    pub(super) text: String,
    pub(super) ignore: Vec<String>,
    pub(super) args: Vec<(String, String)>,
    pub(super) target: Option<String>,
    /// The context is this folder beside the one that most share.
    pub(super) context: Option<String>,
    /// Why the two sides differ.
    pub(super) note: Option<String>,
}

impl Case {
    pub(super) fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn context(&self, root: &Path) -> PathBuf {
        match &self.context {
            Some(other) => root.with_file_name(other),
            None => root.to_owned(),
        }
    }

    /// Dockerfile and ignore file for a cell of a table; `FROM scratch` goes without saying.
    pub(super) fn shown(&self) -> String {
        let ignored = self.ignore.iter().map(|line| format!("ignore: {line}"));
        let args = self
            .args
            .iter()
            .map(|(n, v)| format!("--build-arg {n}={v}"));
        let target = self.target.iter().map(|t| format!("--target {t}"));
        let text = self
            .text
            .strip_prefix("FROM scratch\n")
            .unwrap_or(&self.text);
        let text = text.strip_suffix(LAYER).unwrap_or(text);
        let lines = text.lines().map(str::to_owned);
        let all = args.chain(target).chain(ignored).chain(lines);
        let code = all.filter(|line| !line.trim().is_empty()).map(|line| {
            let line = line.replace('|', "\\|").replace('\t', " ");
            match line.contains('`') {
                true => format!("`` {line} ``"),
                false => format!("`{line}`"),
            }
        });
        code.collect::<Vec<_>>().join("<br>")
    }
}

/// All groups, in order of their files' names.
pub(super) fn read() -> Vec<Group> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| group(&fs_err::read_to_string(file).unwrap()))
        .collect()
}

fn group(text: &str) -> Group {
    let mut sections = text.split("\n=== ");
    let head = sections.next().unwrap();
    let title = head.lines().next().unwrap().trim_start_matches("# ");
    // A note of the head is that of every case.
    let note = head.lines().find_map(|line| line.strip_prefix("@note "));
    let with_note = |section| {
        let mut case = case(section);
        case.note = case.note.or(note.map(str::to_owned));
        case
    };
    Group {
        title: title.to_owned(),
        cases: sections.map(with_note).collect(),
    }
}

fn case(section: &str) -> Case {
    let (title, body) = section.split_once('\n').unwrap();
    let mut case = Case {
        title: title.to_owned(),
        ..Case::default()
    };
    for line in body.lines() {
        if let Some(pattern) = line.strip_prefix("@ignore ") {
            case.ignore.push(pattern.to_owned());
        } else if let Some((name, value)) = line
            .strip_prefix("@arg ")
            .and_then(|arg| arg.split_once('='))
        {
            case.args.push((name.to_owned(), value.to_owned()));
        } else if let Some(target) = line.strip_prefix("@target ") {
            case.target = Some(target.to_owned());
        } else if let Some(context) = line.strip_prefix("@context ") {
            case.context = Some(context.to_owned());
        } else if let Some(note) = line.strip_prefix("@note ") {
            case.note = Some(note.to_owned());
        } else {
            case.text.push_str(line);
            case.text.push('\n');
        }
    }
    if !case.text.lines().any(|line| line.starts_with("FROM ")) {
        case.text.insert_str(0, "FROM scratch\n");
    }
    // The engine saves no image without a layer.
    let layered = |line: &str| {
        ["COPY ", "ADD ", "FROM BASE", "FROM FULL", "FROM TRIGGERS"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    if !case.text.lines().any(layered) {
        case.text.push_str(LAYER);
    }
    case
}
