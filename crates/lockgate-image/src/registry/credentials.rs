//! Credentials as Docker keeps them: `config.json`, and programs that hold them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_diag::Secret;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{DEFAULT_REGISTRY, RegistryError};

/// Largest answer of a credential program, and largest `config.json`.
const BYTES_MAX: u64 = 1024 * 1024;
/// A program may ask a key ring, but not a person.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);
/// Name of the user when the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Who we are at a registry.
#[derive(Clone, Debug)]
pub(super) enum Login {
    Password {
        user: String,
        password: Secret<String>,
    },
    /// A refresh token (OAuth 2).
    Identity(Secret<String>),
}

/// Where logins come from.
#[derive(Debug)]
pub(super) struct Credentials {
    config: Option<PathBuf>,
    helper_env: Vec<(String, String)>,
}

/// The part of `config.json` that is about credentials; everything else is not ours.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl Credentials {
    pub(super) fn new(config: Option<PathBuf>, helper_env: Vec<(String, String)>) -> Self {
        Self { config, helper_env }
    }

    /// The login for a registry, read anew each time: `docker login` may run beside us. The
    /// program for this registry goes first, then the general one, then the file itself.
    pub(super) async fn find(&self, registry: &str) -> Result<Option<Login>, RegistryError> {
        let failed = |reason: String| RegistryError::Credentials {
            registry: registry.to_owned(),
            reason,
        };
        let Some(config) = self.read().map_err(failed)? else {
            return Ok(None);
        };
        let names = names_of(registry);
        let helper = names.iter().find_map(|n| config.cred_helpers.get(n));
        if let Some(program) = helper.or(config.creds_store.as_ref()) {
            for name in &names {
                let answer = self.ask(program, name).await.map_err(failed)?;
                if answer.is_some() {
                    return Ok(answer);
                }
            }
        }
        let known = config
            .auths
            .iter()
            .find(|(key, _)| names.iter().any(|name| host_of(key) == host_of(name)));
        known
            .map_or(Ok(None), |(_, auth)| read_auth(auth))
            .map_err(failed)
    }

    fn read(&self) -> Result<Option<ConfigFile>, String> {
        use std::io::Read as _;
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let file = match fs_err::File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| e.to_string())?,
        };
        let mut text = Vec::new();
        file.take(BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(|e| e.to_string())?;
        // The parser's message can repeat a value, so only the place is told.
        serde_json::from_slice(&text).map(Some).map_err(|e| {
            format!(
                "{}:{}:{} is not as Docker writes it",
                path.display(),
                e.line(),
                e.column()
            )
        })
    }

    /// Asks `docker-credential-<program> get`: the registry goes to its standard input, JSON
    /// comes from its standard output.
    async fn ask(&self, program: &str, registry: &str) -> Result<Option<Login>, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if program.is_empty() || !program.chars().all(plain) {
            return Err(format!("`{program}` is no name of a credential program"));
        }
        let name = format!("docker-credential-{program}");
        let run = async {
            let mut child = tokio::process::Command::new(&name)
                .arg("get")
                .env_clear()
                .envs(self.helper_env.iter().map(|(k, v)| (k, v)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(registry.as_bytes()).await?;
            }
            let mut answer = Vec::new();
            if let Some(output) = child.stdout.take() {
                output.take(BYTES_MAX).read_to_end(&mut answer).await?;
            }
            Ok::<_, std::io::Error>((child.wait().await?, answer))
        };
        let (status, answer) = tokio::time::timeout(PROGRAM_LIMIT, run)
            .await
            .map_err(|_| format!("`{name}` did not answer within 30 s"))?
            .map_err(|e| format!("run `{name}`: {e}"))?;
        if !status.success() {
            // By the protocol, a failure with this text means that it has no entry.
            let text = String::from_utf8_lossy(&answer);
            if text.contains("credentials not found") {
                return Ok(None);
            }
            return Err(format!("`{name}` failed with {status}"));
        }
        let answer: HelperAnswer = serde_json::from_slice(&answer)
            .map_err(|_| format!("`{name}` did not answer with its JSON"))?;
        Ok(Some(login(answer.username, answer.secret)))
    }
}

fn login(user: String, secret: String) -> Login {
    if user == TOKEN_USER {
        Login::Identity(Secret::new(secret))
    } else {
        Login::Password {
            user,
            password: Secret::new(secret),
        }
    }
}

fn read_auth(auth: &Auth) -> Result<Option<Login>, String> {
    if let Some(token) = auth.identitytoken.as_ref().filter(|t| !t.is_empty()) {
        return Ok(Some(Login::Identity(Secret::new(token.clone()))));
    }
    if let Some(encoded) = auth.auth.as_ref().filter(|a| !a.is_empty()) {
        let pair = STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or("its `auth` is not user:password in base64")?;
        return Ok(Some(login(
            user.to_owned(),
            password.trim_end_matches('\0').to_owned(),
        )));
    }
    match (&auth.username, &auth.password) {
        (Some(user), Some(password)) => Ok(Some(login(user.clone(), password.clone()))),
        _ => Ok(None),
    }
}

/// Names under which a registry is kept; Docker's own has an old one with a path.
fn names_of(registry: &str) -> Vec<String> {
    if registry == DEFAULT_REGISTRY {
        vec![
            format!("https://index.{DEFAULT_REGISTRY}/v1/"),
            registry.to_owned(),
        ]
    } else {
        vec![registry.to_owned()]
    }
}

/// The host of a key: old files have URLs.
fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}
