//! The rules of the secret scan: own patterns of credentials whose form is public.

/// One kind of credential.
pub(super) struct Rule {
    /// Stable id, used in ignores.
    pub(super) id: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    /// One of these must be near a match; they feed one Aho-Corasick automaton.
    pub(super) keywords: &'static [&'static str],
    /// Its form. The first group is the secret, or the whole match.
    pub(super) pattern: &'static str,
    /// Least Shannon entropy of the secret in bits per character; filters placeholders.
    pub(super) entropy_min: f64,
}

const fn rule(
    id: &'static str,
    title: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    entropy_min: f64,
) -> Rule {
    Rule {
        id,
        title,
        keywords,
        pattern,
        entropy_min,
    }
}

/// All rules.
pub(super) const RULES: &[Rule] = &[
    rule(
        "private-key",
        "private key",
        &["PRIVATE KEY"],
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\n)[A-Za-z0-9+/=:,.()\-\s\\]{64}",
        3.0,
    ),
    rule(
        "age-key",
        "age secret key",
        &["AGE-SECRET-KEY-1"],
        r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        3.0,
    ),
    rule(
        "aws-access-key",
        "AWS access key",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b",
        3.0,
    ),
    rule(
        "aws-secret-key",
        "AWS secret key",
        &[
            "aws_secret",
            "AWS_SECRET",
            "secretAccessKey",
            "SecretAccessKey",
        ],
        r#"(?i)(?:aws_?secret|secretaccess)[a-z_]{0,20}["']?\s{0,3}[=:]\s{0,3}["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#,
        4.0,
    ),
    rule(
        "github-token",
        "GitHub token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{82})\b",
        3.5,
    ),
    rule(
        "gitlab-token",
        "GitLab token",
        &["glpat-"],
        r"\b(glpat-[A-Za-z0-9_-]{20})",
        3.5,
    ),
    rule(
        "slack-token",
        "Slack token",
        &["xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-"],
        r"\b(xox[abprs]-[0-9]{8,}-[A-Za-z0-9-]{16,})",
        3.0,
    ),
    rule(
        "slack-webhook",
        "Slack webhook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/services/(T[A-Z0-9]{7,}/B[A-Z0-9]{7,}/[A-Za-z0-9]{20,})",
        3.0,
    ),
    rule(
        "stripe-key",
        "Stripe live key",
        &["sk_live_", "rk_live_"],
        r"\b([sr]k_live_[A-Za-z0-9]{20,})",
        3.5,
    ),
    rule(
        "google-api-key",
        "Google API key",
        &["AIza"],
        r"\b(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)",
        3.5,
    ),
    rule(
        "openai-key",
        "OpenAI key",
        &["T3BlbkFJ"],
        r"\b(sk-[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,})",
        3.5,
    ),
    rule(
        "anthropic-key",
        "Anthropic key",
        &["sk-ant-"],
        r"\b(sk-ant-[a-z0-9]{2,10}-[A-Za-z0-9_-]{60,})",
        3.5,
    ),
    rule(
        "npm-token",
        "npm token",
        &["npm_", "_authToken"],
        r"(?:\b(npm_[A-Za-z0-9]{36})\b|_authToken\s*=\s*([A-Za-z0-9+/=_-]{20,}))",
        3.5,
    ),
    rule(
        "pypi-token",
        "PyPI token",
        &["pypi-AgEIcHlwaS5vcmc"],
        r"(pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,})",
        3.5,
    ),
    rule(
        "docker-token",
        "Docker access token",
        &["dckr_pat_"],
        r"\b(dckr_pat_[A-Za-z0-9_-]{27})",
        3.5,
    ),
    rule(
        "docker-auth",
        "registry password",
        &["\"auth\""],
        r#""auth"\s*:\s*"([A-Za-z0-9+/]{16,}={0,2})""#,
        3.0,
    ),
    rule(
        "vault-token",
        "Vault token",
        &["hvs."],
        r"\b(hvs\.[A-Za-z0-9_-]{24,})",
        3.5,
    ),
    rule(
        "digitalocean-token",
        "DigitalOcean token",
        &["dop_v1_"],
        r"\b(dop_v1_[a-f0-9]{64})\b",
        3.0,
    ),
    rule(
        "sendgrid-key",
        "SendGrid key",
        &["SG."],
        r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})\b",
        3.5,
    ),
    rule(
        "url-password",
        "password in a URL",
        &["://"],
        r#"[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>$%{}]{1,64}:([^\s/:@"'<>${}]{8,128})@[A-Za-z0-9.-]{1,200}"#,
        3.2,
    ),
];

/// Parts of variable names whose value is likely a secret.
pub(super) const SECRET_NAMES: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "CREDENTIAL",
];

/// Endings of names that point at a secret without holding it.
pub(super) const REFERENCE_SUFFIXES: [&str; 6] = ["_FILE", "_PATH", "_URL", "_ID", "_NAME", "_TTL"];
