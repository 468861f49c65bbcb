//! `lockgate.toml`: the settings of a node.
//!
//! One table, [`FIELDS`], declares every field with its kind, default and meaning; reading,
//! did-you-mean and the generated reference all use it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::codes::settings::{BAD_SETTING, TOML_SYNTAX, UNKNOWN_SETTING};
use lockgate_diag::{Diagnostic, SourceFile, Span, did_you_mean};
use toml::de::{DeTable, DeValue};

/// One field: its dotted name, what it takes, what holds without it, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Dotted name.
    pub name: &'static str,
    /// What it takes.
    pub kind: FieldKind,
    /// The default as written in the file; empty when there is none.
    pub default: &'static str,
    /// What it does, and why the default is what it is.
    pub doc: &'static str,
}

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// `"host:port"` with an IP address.
    Address,
    /// A path; relative ones start at the folder of the file.
    Path,
    /// One of a closed set of words.
    Word(&'static [&'static str]),
    /// A whole number within bounds.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
}

const MIB: u64 = 1024 * 1024;

/// Every field of the file.
pub const FIELDS: &[Field] = &[
    field(
        "data.address",
        FieldKind::Address,
        "127.0.0.1:8470",
        "Where the gateway listens. Loopback: nothing is reachable from outside until asked.",
    ),
    field(
        "admin.socket",
        FieldKind::Path,
        "",
        "Unix socket of the admin API; `node.sock` in the node's folder when absent. File permissions guard it.",
    ),
    field(
        "admin.address",
        FieldKind::Address,
        "",
        "TCP address of the admin API. Absent: none. Needs `admin.key_file`.",
    ),
    field(
        "admin.key_file",
        FieldKind::Path,
        "",
        "File with the bearer key of the TCP admin API; its mode must keep others out.",
    ),
    field(
        "log.level",
        FieldKind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "Least important line that is logged. `info` holds life-cycle events only.",
    ),
    field(
        "log.format",
        FieldKind::Word(&["text", "json"]),
        "json",
        "Lines for people or for a collector. A node writes to a file, so `json`.",
    ),
    field(
        "store.path",
        FieldKind::Path,
        "",
        "Folder of the node's database and ledger; the node's folder when absent.",
    ),
    field(
        "ledger.segment_bytes",
        FieldKind::Whole {
            min: 64 * 1024,
            max: 1024 * MIB,
        },
        "8388608",
        "Size of one file of the ledger of AI calls, taken from the disk when it is made. 8 MiB hold some thirty thousand calls; an eighth is kept for the ends of calls under way.",
    ),
    field(
        "ledger.segments_max",
        FieldKind::Whole {
            min: 2,
            max: 10_000,
        },
        "64",
        "Files of the ledger that may wait for the database before calls are refused: an outage of about two million calls.",
    ),
    field(
        "limits.connections_max",
        FieldKind::Whole {
            min: 1,
            max: 1_000_000,
        },
        "10000",
        "Open client connections; one more waits. About 40 KiB each in the worst case.",
    ),
    field(
        "limits.head_bytes_max",
        FieldKind::Whole {
            min: 1024,
            max: MIB,
        },
        "65536",
        "Request line and headers together; above the 8-32 KiB of common servers, below what hurts.",
    ),
    field(
        "limits.body_bytes_max",
        FieldKind::Whole {
            min: 0,
            max: 1024 * 1024 * MIB,
        },
        "10485760",
        "Request body where a route says nothing else. 10 MiB carries documents, not uploads.",
    ),
    field(
        "limits.idle_timeout_seconds",
        FieldKind::Whole {
            min: 1,
            max: 86_400,
        },
        "60",
        "A connection without a request is closed; longer than the 30-60 s pools of clients.",
    ),
    field(
        "limits.head_timeout_seconds",
        FieldKind::Whole { min: 1, max: 3600 },
        "10",
        "A request head must arrive within it: slow senders cannot hold connections.",
    ),
    field(
        "limits.drain_seconds",
        FieldKind::Whole { min: 0, max: 3600 },
        "30",
        "At shutdown, requests may finish this long; then they are cut and counted.",
    ),
];

const fn field(
    name: &'static str,
    kind: FieldKind,
    default: &'static str,
    doc: &'static str,
) -> Field {
    Field {
        name,
        kind,
        default,
        doc,
    }
}

/// The settings of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// `data.address`.
    pub data_address: SocketAddr,
    /// `admin.socket`.
    pub admin_socket: Option<PathBuf>,
    /// `admin.address`.
    pub admin_address: Option<SocketAddr>,
    /// `admin.key_file`.
    pub admin_key_file: Option<PathBuf>,
    /// `log.level`.
    pub log_level: String,
    /// `log.format` is `json`.
    pub log_json: bool,
    /// `store.path`.
    pub store_path: Option<PathBuf>,
    /// `ledger.segment_bytes`.
    pub ledger_segment_bytes: u64,
    /// `ledger.segments_max`.
    pub ledger_segments_max: u64,
    /// `limits.*`.
    pub limits: NodeLimits,
}

/// The bounds of a node's data plane.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLimits {
    /// `limits.connections_max`.
    pub connections_max: u64,
    /// `limits.head_bytes_max`, bytes.
    pub head_bytes_max: u64,
    /// `limits.body_bytes_max`, bytes.
    pub body_bytes_max: u64,
    /// `limits.idle_timeout_seconds`.
    pub idle_timeout: Duration,
    /// `limits.head_timeout_seconds`.
    pub head_timeout: Duration,
    /// `limits.drain_seconds`.
    pub drain: Duration,
}

impl NodeSettings {
    /// Parses the text of a settings file; an empty one gives the defaults. `None` when anything
    /// is wrong: a node does not start on half of its settings.
    pub fn parse(file: &Arc<SourceFile>) -> (Option<Self>, Vec<Diagnostic>) {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        let mut reader = Reader {
            file,
            values: BTreeMap::new(),
            found: Vec::new(),
        };
        for error in errors {
            let span = error.span().map(Span::of).unwrap_or_default();
            let message = format!("the file is not valid TOML: {}", error.message());
            reader
                .found
                .push(Diagnostic::error(TOML_SYNTAX, message).at(file, span, ""));
        }
        reader.flatten("", table.get_ref());
        let settings = reader.settings();
        if reader.found.is_empty() {
            (Some(settings), reader.found)
        } else {
            (None, reader.found)
        }
    }
}

/// A checked value.
#[derive(Clone, Debug)]
enum Checked {
    Address(SocketAddr),
    Text(String),
    Whole(u64),
}

struct Reader<'f> {
    file: &'f Arc<SourceFile>,
    values: BTreeMap<&'static str, (Checked, Span)>,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Walks tables down to fields, checks each value and reports what is unknown.
    fn flatten(&mut self, prefix: &str, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = format!("{prefix}{}", key.get_ref());
            let inner = format!("{name}.");
            if let Some(table) = value.get_ref().as_table()
                && FIELDS.iter().any(|f| f.name.starts_with(&inner))
            {
                self.flatten(&inner, table);
                continue;
            }
            let span = Span::of(value.span());
            match FIELDS.iter().find(|f| f.name == name) {
                Some(field) => self.check(field, value.get_ref(), span),
                None => self.unknown(&name, Span::of(key.span())),
            }
        }
    }

    fn unknown(&mut self, name: &str, span: Span) {
        let sections = FIELDS.iter().filter_map(|f| f.name.split('.').next());
        let known = FIELDS.iter().map(|f| f.name).chain(sections);
        let diagnostic = Diagnostic::error(UNKNOWN_SETTING, format!("unknown setting `{name}`"))
            .at(self.file, span, "");
        self.found.push(match did_you_mean(name, known) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`")),
            None => {
                let names: Vec<&str> = FIELDS.iter().map(|f| f.name).collect();
                diagnostic.hint(format!("settings are {}", names.join(", ")))
            }
        });
    }

    fn check(&mut self, field: &'static Field, value: &DeValue<'_>, span: Span) {
        match checked(field.kind, value) {
            Ok(checked) => {
                self.values.insert(field.name, (checked, span));
            }
            Err(expected) => {
                let message = format!("`{}` must be {expected}", field.name);
                let mut diagnostic =
                    Diagnostic::error(BAD_SETTING, message).at(self.file, span, "");
                if !field.default.is_empty() {
                    diagnostic = diagnostic.hint(format!("the default is `{}`", field.default));
                }
                self.found.push(diagnostic);
            }
        }
    }

    fn value(&self, name: &str) -> Option<Checked> {
        if let Some((value, _)) = self.values.get(name) {
            return Some(value.clone());
        }
        let field = FIELDS.iter().find(|f| f.name == name)?;
        let default = field.default;
        match field.kind {
            FieldKind::Address => default.parse().ok().map(Checked::Address),
            FieldKind::Whole { .. } => default.parse().ok().map(Checked::Whole),
            FieldKind::Path | FieldKind::Word(_) => {
                (!default.is_empty()).then(|| Checked::Text(default.to_owned()))
            }
        }
    }

    fn address(&self, name: &str) -> Option<SocketAddr> {
        match self.value(name)? {
            Checked::Address(address) => Some(address),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Checked::Text(text) => Some(text),
            _ => None,
        }
    }

    fn whole(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Checked::Whole(number)) => number,
            _ => 0,
        }
    }

    fn settings(&mut self) -> NodeSettings {
        let seconds = |name: &str| Duration::from_secs(self.whole(name));
        let settings = NodeSettings {
            data_address: self
                .address("data.address")
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            admin_socket: self.text("admin.socket").map(PathBuf::from),
            admin_address: self.address("admin.address"),
            admin_key_file: self.text("admin.key_file").map(PathBuf::from),
            log_level: self.text("log.level").unwrap_or_default(),
            log_json: self.text("log.format").as_deref() == Some("json"),
            store_path: self.text("store.path").map(PathBuf::from),
            ledger_segment_bytes: self.whole("ledger.segment_bytes"),
            ledger_segments_max: self.whole("ledger.segments_max"),
            limits: NodeLimits {
                connections_max: self.whole("limits.connections_max"),
                head_bytes_max: self.whole("limits.head_bytes_max"),
                body_bytes_max: self.whole("limits.body_bytes_max"),
                idle_timeout: seconds("limits.idle_timeout_seconds"),
                head_timeout: seconds("limits.head_timeout_seconds"),
                drain: seconds("limits.drain_seconds"),
            },
        };
        if let (Some((_, span)), None) =
            (self.values.get("admin.address"), &settings.admin_key_file)
        {
            let message =
                "`admin.address` needs `admin.key_file`: a TCP admin API without a key is open";
            let diagnostic = Diagnostic::error(BAD_SETTING, message)
                .at(self.file, *span, "")
                .hint("add `admin.key_file = \"admin.key\"`");
            self.found.push(diagnostic);
        }
        settings
    }
}

/// The value as its kind wants it; `Err` says what was expected.
fn checked(kind: FieldKind, value: &DeValue<'_>) -> Result<Checked, String> {
    match kind {
        FieldKind::Address => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(Checked::Address)
            .ok_or_else(|| "an IP address and port like `\"127.0.0.1:8470\"`".to_owned()),
        FieldKind::Path => value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(|text| Checked::Text(text.to_owned()))
            .ok_or_else(|| "a path in quotes".to_owned()),
        FieldKind::Word(words) => value
            .as_str()
            .filter(|text| words.contains(text))
            .map(|text| Checked::Text(text.to_owned()))
            .ok_or_else(|| format!("one of {}", words.join(", "))),
        FieldKind::Whole { min, max } => value
            .as_integer()
            .and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
            .filter(|n| (min..=max).contains(n))
            .map(Checked::Whole)
            .ok_or_else(|| format!("a whole number from {min} to {max}")),
    }
}

#[cfg(test)]
mod tests;
