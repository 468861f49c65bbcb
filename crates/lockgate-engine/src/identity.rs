//! Who a resource is: its URN, and the URNs it may have had before (engine guide, section 10).

use lockgate_model::Urn;

use crate::source::{Alias, AliasParent};

/// The identity of a resource that is being registered.
pub(crate) struct Identity<'a> {
    pub stack: &'a str,
    pub project: &'a str,
    pub type_token: &'a str,
    pub name: &'a str,
    pub parent: Option<&'a Urn>,
    /// The URN under which the parent was found in the state, if it was renamed.
    pub parent_was: Option<&'a Urn>,
}

impl Identity<'_> {
    pub(crate) fn urn(&self) -> Urn {
        Urn::new(
            self.stack,
            self.project,
            self.parent,
            self.type_token,
            self.name,
        )
    }

    /// Earlier URNs, most specific first: the aliases as written, then those that follow from a
    /// renamed parent.
    pub(crate) fn earlier(&self, aliases: &[Alias]) -> Vec<Urn> {
        let mut found = Vec::new();
        for alias in aliases {
            match alias {
                Alias::Urn(urn) => found.push(urn.clone()),
                Alias::Parts { .. } => {
                    found.push(self.alias_under(alias, self.parent));
                    if self.parent_was.is_some() && has_same_parent(alias) {
                        found.push(self.alias_under(alias, self.parent_was));
                    }
                }
            }
        }
        if let (Some(was), Some(is)) = (self.parent_was, self.parent) {
            for name in inherited_names(self.name, is.name(), was.name()) {
                found.push(Urn::new(
                    was.stack(),
                    was.project(),
                    Some(was),
                    self.type_token,
                    &name,
                ));
            }
        }
        found
    }

    fn alias_under(&self, alias: &Alias, same: Option<&Urn>) -> Urn {
        let Alias::Parts {
            name,
            type_token,
            stack,
            project,
            parent,
        } = alias
        else {
            return self.urn();
        };
        let parent = match parent {
            AliasParent::Same => same,
            AliasParent::None => None,
            AliasParent::Urn(urn) => Some(urn),
        };
        Urn::new(
            stack.as_deref().unwrap_or(self.stack),
            project.as_deref().unwrap_or(self.project),
            parent,
            type_token.as_deref().unwrap_or(self.type_token),
            name.as_deref().unwrap_or(self.name),
        )
    }
}

fn has_same_parent(alias: &Alias) -> bool {
    matches!(
        alias,
        Alias::Parts {
            parent: AliasParent::Same,
            ..
        }
    )
}

/// A child named after its parent was renamed with it; one that was not keeps its name.
fn inherited_names(child: &str, parent: &str, parent_was: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(rest) = child.strip_prefix(parent) {
        names.push(format!("{parent_was}{rest}"));
    }
    if names.first().is_none_or(|name| name != child) {
        names.push(child.to_owned());
    }
    names
}
