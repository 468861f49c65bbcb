//! Operating system and processor of an image. Never taken from the host, so that two machines
//! give one digest.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an image runs on (OCI image-index `platform`), printed as `os/arch[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OsArch {
    /// Processor in Go's spelling: `amd64`, `arm64`, …
    #[serde(rename = "architecture")]
    pub arch: String,
    /// Operating system; only `linux` images are assembled.
    pub os: String,
    /// Processor variant, such as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that is no `os/arch[/variant]`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not `os/arch` or `os/arch/variant`, for example `linux/amd64`")]
pub struct ParseOsArchError(pub String);

impl OsArch {
    /// `linux` on `arch`.
    pub fn linux(arch: &str) -> Self {
        Self {
            arch: normal_arch(arch).to_owned(),
            os: "linux".to_owned(),
            variant: None,
        }
    }

    /// Parses `os/arch[/variant]`; `x86_64` and `aarch64` are read as Go's names for them.
    pub fn parse(text: &str) -> Result<Self, ParseOsArchError> {
        let error = || ParseOsArchError(text.to_owned());
        let mut parts = text.split('/');
        let (os, arch) = parts.next().zip(parts.next()).ok_or_else(error)?;
        let variant = parts.next();
        let word =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if parts.next().is_some()
            || ![Some(os), Some(arch), variant]
                .into_iter()
                .flatten()
                .all(word)
        {
            return Err(error());
        }
        Ok(Self {
            arch: normal_arch(arch).to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// Whether an image for `offered` runs where this one is asked for. A missing variant
    /// matches any.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.arch == offered.arch
            && (self.variant.is_none()
                || offered.variant.is_none()
                || self.variant == offered.variant)
    }
}

fn normal_arch(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl fmt::Display for OsArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised_and_garbage_is_refused() {
        assert_eq!(
            OsArch::parse("linux/x86_64").unwrap().to_string(),
            "linux/amd64"
        );
        assert_eq!(
            OsArch::parse("linux/arm/v7").unwrap().to_string(),
            "linux/arm/v7"
        );
        for text in ["", "linux", "linux/", "linux/a/b/c", "linux/a b"] {
            assert!(OsArch::parse(text).is_err(), "{text} was accepted");
        }
    }
}
