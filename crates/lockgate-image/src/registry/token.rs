//! From a challenge to an `Authorization` header, and the tokens that are still good.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use lockgate_diag::Secret;
use parking_lot::Mutex;
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::Login;
use super::transport::{self, Body, is_loopback};
use super::{Inner, RegistryError};

/// Tokens kept at once; the oldest goes first.
const TOKENS_MAX: usize = 256;
/// Largest answer of a realm.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What the token protocol says where `expires_in` is missing.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is not used in its last seconds: the call takes time too.
const MARGIN: Duration = Duration::from_secs(10);

/// Headers by registry and scopes.
#[derive(Default)]
pub(super) struct Tokens {
    known: Mutex<HashMap<(String, String), Token>>,
}

#[derive(Clone)]
struct Token {
    header: Secret<HeaderValue>,
    /// On the monotonic clock; `None` lasts.
    expires: Option<Duration>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Inner {
    /// The header for these scopes, if one is known and good.
    pub(super) fn known_token(
        &self,
        registry: &str,
        scopes: &[String],
    ) -> Option<Secret<HeaderValue>> {
        let key = (registry.to_owned(), scopes.join(" "));
        let token = self.tokens.known.lock().get(&key).cloned()?;
        let now = self.clock.monotonic();
        token
            .expires
            .is_none_or(|end| now < end)
            .then_some(token.header)
    }

    /// Answers a challenge: gives a header to try, or `None` when there is nothing to offer.
    pub(super) async fn authenticate(
        &self,
        registry: &str,
        scopes: &[String],
        challenge: &Challenge,
    ) -> Result<Option<Secret<HeaderValue>>, RegistryError> {
        let login = self.credentials.find(registry).await?;
        let token = match (challenge, &login) {
            (Challenge::Basic, Some(Login::Password { user, password })) => Token {
                header: basic(user, password, registry)?,
                expires: None,
            },
            (Challenge::Basic, _) => return Ok(None),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                login,
            ) => {
                // Ours name what the whole operation needs; the registry's only this call.
                let own: Vec<String> = scope.iter().cloned().collect();
                let scopes = if scopes.is_empty() { &own } else { scopes };
                self.fetch_token(registry, realm, service.as_deref(), scopes, login.as_ref())
                    .await?
            }
        };
        let header = token.header.clone();
        let mut known = self.tokens.known.lock();
        if known.len() >= TOKENS_MAX {
            let oldest = known.iter().min_by_key(|(_, t)| t.expires);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| known.remove(&key));
        }
        known.insert((registry.to_owned(), scopes.join(" ")), token);
        Ok(Some(header))
    }

    /// The token protocol of the distribution project: GET with user and password or without,
    /// POST with a refresh token (docs/spec/auth/{token,oauth}.md).
    async fn fetch_token(
        &self,
        registry: &str,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: Option<&Login>,
    ) -> Result<Token, RegistryError> {
        let operation = format!("ask {realm} for a token of {registry}");
        let answer_error = |reason: &str| RegistryError::Answer {
            operation: operation.clone(),
            reason: reason.to_owned(),
        };
        let realm_uri: Uri = realm
            .parse()
            .map_err(|_| answer_error("the realm is no URL"))?;
        let secure = realm_uri.scheme_str() == Some("https");
        let local = realm_uri.host().is_some_and(is_loopback);
        // A remote registry must not send us, with a password, to a server without TLS.
        if !(secure || local && is_loopback(registry)) {
            return Err(RegistryError::PlainHttp(realm.to_owned()));
        }
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(service.map(|s| ("service", s)));
        let joined = scopes.join(" ");
        let request = if let Some(Login::Identity(secret)) = login {
            fields.push(("scope", joined.as_str()));
            fields.push(("grant_type", "refresh_token"));
            fields.push(("client_id", "lockgate"));
            fields.push(("refresh_token", secret.expose()));
            Request::builder()
                .method(Method::POST)
                .uri(realm_uri)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(transport::full(Bytes::from(form(&fields))))
        } else {
            fields.extend(scopes.iter().map(|s| ("scope", s.as_str())));
            let joint = if realm.contains('?') { '&' } else { '?' };
            let mut request = Request::builder().uri(format!("{realm}{joint}{}", form(&fields)));
            if let Some(Login::Password { user, password }) = login {
                let header = basic(user, password, registry)?.into_exposed();
                request = request.header(AUTHORIZATION, header);
            }
            request.body(transport::full(Bytes::new()))
        };
        let request: Request<Body> = request.map_err(|_| answer_error("the realm is no URL"))?;
        let response = self.client.call(request, &operation).await?;
        let status = response.status();
        if matches!(status.as_u16(), 401 | 403) {
            return Err(RegistryError::Denied {
                registry: registry.to_owned(),
                operation: "log in with the credentials of Docker's config.json".to_owned(),
            });
        }
        if !status.is_success() {
            return Err(RegistryError::Status {
                operation,
                status: status.as_u16(),
                detail: String::new(),
            });
        }
        let text = transport::read(response, ANSWER_BYTES_MAX, &operation).await?;
        let answer: Answer =
            serde_json::from_slice(&text).map_err(|_| answer_error("the answer is no token"))?;
        let token = answer.token.or(answer.access_token).unwrap_or_default();
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| answer_error("the token is not text"))?;
        header.set_sensitive(true);
        let life = answer
            .expires_in
            .map_or(DEFAULT_LIFE, Duration::from_secs)
            .max(DEFAULT_LIFE);
        Ok(Token {
            header: Secret::new(header),
            expires: Some(self.clock.monotonic() + life.saturating_sub(MARGIN)),
        })
    }
}

fn basic(
    user: &str,
    password: &Secret<String>,
    registry: &str,
) -> Result<Secret<HeaderValue>, RegistryError> {
    let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
    let mut header =
        HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| RegistryError::Credentials {
            registry: registry.to_owned(),
            reason: "user and password do not fit a header".to_owned(),
        })?;
    header.set_sensitive(true);
    Ok(Secret::new(header))
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
