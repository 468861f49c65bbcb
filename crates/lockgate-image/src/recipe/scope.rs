//! The variables visible at an instruction: ARG, ENV and the platform's own.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_diag::Secret;

use crate::dockerfile::expand::Variables;
use crate::os_arch::OsArch;

/// Arguments that may be passed without being declared (Dockerfile reference, "Predefined ARGs").
pub(super) const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Values passed with the build.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedArgs {
    pub(crate) plain: BTreeMap<String, String>,
    pub(crate) secret: BTreeMap<String, Secret<String>>,
}

/// The platform arguments, global until a stage redeclares them. The build platform is the
/// target platform: the assembler runs nothing, so the host must not matter.
pub(super) fn platform_args(os_arch: &OsArch) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for prefix in ["TARGET", "BUILD"] {
        args.insert(format!("{prefix}PLATFORM"), os_arch.to_string());
        args.insert(format!("{prefix}OS"), os_arch.os.clone());
        args.insert(format!("{prefix}ARCH"), os_arch.arch.clone());
        args.insert(
            format!("{prefix}VARIANT"),
            os_arch.variant.clone().unwrap_or_default(),
        );
    }
    args
}

/// ARGs and ENVs of a stage as of one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    args: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
    env: Vec<(String, String)>,
}

impl Scope {
    pub(super) fn with_env(env: &[String]) -> Self {
        let mut scope = Self::default();
        for pair in env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            scope.set_env(name, value.to_owned());
        }
        scope
    }

    /// Declares an argument; without a value it stays what it was.
    pub(super) fn set_arg(&mut self, name: &str, value: Option<String>) {
        self.secrets.remove(name);
        if let Some(value) = value {
            self.args.insert(name.to_owned(), value);
        }
    }

    /// Declares an argument whose value must not reach the image.
    pub(super) fn set_secret_arg(&mut self, name: &str) {
        self.args.remove(name);
        self.secrets.insert(name.to_owned());
    }

    /// Later values replace earlier ones in place, and an argument of that name.
    pub(super) fn set_env(&mut self, name: &str, value: String) {
        self.args.remove(name);
        self.secrets.remove(name);
        match self.env.iter_mut().find(|(n, _)| n == name) {
            Some(slot) => slot.1 = value,
            None => self.env.push((name.to_owned(), value)),
        }
    }

    pub(super) fn env_list(&self) -> Vec<String> {
        self.env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// The first secret argument that `text` mentions.
    pub(super) fn secret_in<'a>(&'a self, text: &str) -> Option<&'a str> {
        self.secrets.iter().map(String::as_str).find(|name| {
            text.match_indices('$').any(|(at, _)| {
                let rest = text[at + 1..].trim_start_matches('{');
                rest.strip_prefix(*name).is_some_and(|after| {
                    !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                })
            })
        })
    }
}

impl Variables for Scope {
    fn find(&self, name: &str) -> Option<&str> {
        // An argument that is still here was declared after an ENV of its name.
        let in_env = || self.env.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        self.args.get(name).or_else(in_env).map(String::as_str)
    }
}
