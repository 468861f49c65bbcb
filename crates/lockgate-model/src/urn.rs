//! Uniform resource names: `urn:pulumi:<stack>::<project>::<parent types$type>::<name>`.

use std::fmt;
use std::sync::Arc;

/// The type of the root component of every stack; left out of the type chain of its children.
pub const STACK_TYPE: &str = "pulumi:pulumi:Stack";

const PREFIX: &str = "urn:pulumi:";

/// The identity of a resource within a stack. Cheap to clone.
///
/// The name part may contain anything, `::` too, so parsing splits at most three times
/// (engine guide, section 10).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Urn(Arc<str>);

/// A text that is no URN.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a resource URN, expected urn:pulumi:<stack>::<project>::<type>::<name>")]
pub struct ParseUrnError(pub String);

impl Urn {
    /// The URN of a resource. `parent` gives the type chain unless it is the root stack.
    pub fn new(
        stack: &str,
        project: &str,
        parent: Option<&Urn>,
        type_token: &str,
        name: &str,
    ) -> Self {
        let chain = match parent {
            Some(parent) if parent.type_token() != STACK_TYPE => {
                format!("{}${type_token}", parent.qualified_type())
            }
            _ => type_token.to_owned(),
        };
        Self(format!("{PREFIX}{stack}::{project}::{chain}::{name}").into())
    }

    /// Parses a URN; all four parts must be present and all but the name non-empty.
    pub fn parse(text: &str) -> Result<Self, ParseUrnError> {
        let error = || ParseUrnError(text.to_owned());
        let rest = text.strip_prefix(PREFIX).ok_or_else(error)?;
        let parts: Vec<&str> = rest.splitn(4, "::").collect();
        match parts.as_slice() {
            [stack, project, kind, _]
                if !stack.is_empty() && !project.is_empty() && !kind.is_empty() =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(error()),
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn part(&self, index: usize) -> &str {
        self.0[PREFIX.len()..]
            .splitn(4, "::")
            .nth(index)
            .unwrap_or_default()
    }

    /// The stack name.
    pub fn stack(&self) -> &str {
        self.part(0)
    }

    /// The project name.
    pub fn project(&self) -> &str {
        self.part(1)
    }

    /// The type chain, parents first, joined with `$`.
    pub fn qualified_type(&self) -> &str {
        self.part(2)
    }

    /// The type token of the resource itself.
    pub fn type_token(&self) -> &str {
        let chain = self.qualified_type();
        chain.rsplit('$').next().unwrap_or(chain)
    }

    /// The logical name.
    pub fn name(&self) -> &str {
        self.part(3)
    }

    /// The package of the type token: the text before the first colon.
    pub fn package(&self) -> &str {
        package_of(self.type_token())
    }
}

/// The package of a type token: `random` of `random:index/randomId:RandomId`; of a provider
/// resource (`pulumi:providers:aws`) the package it provides.
pub fn package_of(type_token: &str) -> &str {
    match type_token.strip_prefix("pulumi:providers:") {
        Some(package) => package,
        None => type_token.split(':').next().unwrap_or(type_token),
    }
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_the_separator_and_parents_chain_types() {
        let root = Urn::new("dev", "shop", None, STACK_TYPE, "shop-dev");
        let component = Urn::new("dev", "shop", Some(&root), "my:mod:Web", "web");
        let child = Urn::new(
            "dev",
            "shop",
            Some(&component),
            "random:index/randomId:RandomId",
            "a::b",
        );
        assert_eq!(
            child.as_str(),
            "urn:pulumi:dev::shop::my:mod:Web$random:index/randomId:RandomId::a::b"
        );
        assert_eq!(child.name(), "a::b");
        assert_eq!(child.type_token(), "random:index/randomId:RandomId");
        assert_eq!(child.package(), "random");
        assert_eq!(Urn::parse(child.as_str()), Ok(child));
        assert!(Urn::parse("urn:pulumi:dev::shop::x").is_err());
    }
}
