//! Type and function tokens, short forms included, resolved against the schemas.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use lockgate_diag::codes::program::{UNKNOWN_FUNCTION, UNKNOWN_TYPE};
use lockgate_diag::did_you_mean;
use lockgate_model::schema::{
    FunctionSchema, PackageSchema, PropertyKind, PropertySchema, ResourceSchema,
};
use lockgate_model::urn::package_of;

use super::Checker;
use crate::expression::Invoke;
use crate::program::{Program, Resource};

pub(crate) const STACK_REFERENCE: &str = "pulumi:pulumi:StackReference";
const STASH: &str = "pulumi:index:Stash";
const PROVIDER_PREFIX: &str = "pulumi:providers:";

/// A resource type that exists.
#[derive(Clone, Debug)]
pub(crate) struct ResourceType {
    /// Full token as the package spells it.
    pub(crate) token: String,
    /// Its package; `None` for providers, whose properties the package itself checks.
    pub(super) package: Option<Arc<PackageSchema>>,
    /// The component of the program that it is.
    pub(crate) component: Option<usize>,
}

impl ResourceType {
    pub(crate) fn schema(&self) -> Option<&ResourceSchema> {
        self.package.as_ref()?.resources.get(&self.token)
    }

    pub(crate) fn is_provider(&self) -> bool {
        self.token.starts_with(PROVIDER_PREFIX)
    }

    pub(crate) fn package(&self) -> &str {
        package_of(&self.token)
    }
}

/// A function that exists.
#[derive(Clone, Debug)]
pub(crate) struct FunctionType {
    /// Full token as the package spells it.
    pub(crate) token: String,
    package: Option<Arc<PackageSchema>>,
}

impl FunctionType {
    fn schema(&self) -> Option<&FunctionSchema> {
        self.package.as_ref()?.functions.get(&self.token)
    }

    pub(crate) fn inputs(&self) -> BTreeMap<String, PropertySchema> {
        self.schema().map(|s| s.inputs.clone()).unwrap_or_default()
    }

    /// Whether a result is secret by itself.
    pub(crate) fn is_secret_output(&self, name: &str) -> bool {
        self.schema()
            .and_then(|s| s.outputs.get(name))
            .is_some_and(|p| p.secret)
    }
}

/// The engine's own types (engine guide, section 12).
static BUILT_IN: LazyLock<Arc<PackageSchema>> = LazyLock::new(|| {
    let property = |required| PropertySchema {
        required,
        ..PropertySchema::default()
    };
    let text = PropertySchema {
        kind: PropertyKind::String { one_of: Vec::new() },
        ..PropertySchema::default()
    };
    let map = |entries: &[(&str, &PropertySchema)]| -> BTreeMap<String, PropertySchema> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).clone()))
            .collect()
    };
    let any = property(false);
    let reference = ResourceSchema {
        description: "The outputs of another stack.".to_owned(),
        inputs: map(&[("name", &text)]),
        outputs: map(&[
            ("name", &text),
            ("outputs", &any),
            ("secretOutputNames", &any),
        ]),
    };
    let stash = ResourceSchema {
        description: "Keeps the first value it was given.".to_owned(),
        inputs: map(&[("input", &property(true))]),
        outputs: map(&[("input", &any), ("output", &any)]),
    };
    let function = |inputs, outputs| FunctionSchema {
        description: String::new(),
        inputs,
        outputs,
    };
    let required = property(true);
    Arc::new(PackageSchema {
        name: "pulumi".to_owned(),
        resources: [
            (STACK_REFERENCE.to_owned(), reference),
            (STASH.to_owned(), stash),
        ]
        .into(),
        functions: [
            (
                "pulumi:pulumi:readStackOutputs".to_owned(),
                function(map(&[("name", &required)]), map(&[("outputs", &any)])),
            ),
            (
                "pulumi:pulumi:readStackResourceOutputs".to_owned(),
                function(map(&[("stackName", &required)]), map(&[("outputs", &any)])),
            ),
            (
                "pulumi:pulumi:getResource".to_owned(),
                function(map(&[("urn", &required)]), map(&[("state", &any)])),
            ),
        ]
        .into(),
        ..PackageSchema::default()
    })
});

impl Checker<'_> {
    pub(super) fn resource_type(
        &mut self,
        program: &Program,
        index: usize,
        resource: &Resource,
    ) -> Option<Arc<ResourceType>> {
        let token = resource.type_token.as_str();
        if token.is_empty() {
            return None;
        }
        if let Some(known) = self.known_types.get(token) {
            if known.is_some() {
                return known.clone();
            }
        } else {
            let found = self.find_type(token).map(Arc::new);
            self.known_types.insert(token.to_owned(), found.clone());
            if found.is_some() {
                return found;
            }
        }
        let file = program.entries[index].file;
        let (message, hint) = self.unknown_token(token, "type", |schema| {
            schema.resources.keys().cloned().collect()
        });
        self.error(program, file, resource.type_span, UNKNOWN_TYPE, message)
            .hints
            .extend(hint);
        None
    }

    pub(super) fn find_type(&self, token: &str) -> Option<ResourceType> {
        if let Some(package) = token.strip_prefix(PROVIDER_PREFIX) {
            self.schema(package)?;
            return Some(ResourceType {
                token: token.to_owned(),
                package: None,
                component: None,
            });
        }
        if let Some(component) = self.components.find(token) {
            return Some(component);
        }
        let package = self.schema(package_of(token))?;
        let token = find_token(&package.resources, token)?;
        Some(ResourceType {
            token,
            package: Some(package),
            component: None,
        })
    }

    pub(super) fn function_type(
        &mut self,
        program: &Program,
        file: usize,
        invoke: &Invoke,
    ) -> Option<FunctionType> {
        let found = self.schema(package_of(&invoke.token)).and_then(|package| {
            let token = find_token(&package.functions, &invoke.token)?;
            Some(FunctionType {
                token,
                package: Some(package),
            })
        });
        if found.is_none() {
            let (message, hint) = self.unknown_token(&invoke.token, "function", |schema| {
                schema.functions.keys().cloned().collect()
            });
            self.error(program, file, invoke.token_span, UNKNOWN_FUNCTION, message)
                .hints
                .extend(hint);
        }
        found
    }

    fn schema(&self, package: &str) -> Option<Arc<PackageSchema>> {
        if package == "pulumi" {
            return Some(Arc::clone(&BUILT_IN));
        }
        self.providers.schema(package)
    }

    pub(super) fn unknown_token(
        &self,
        token: &str,
        noun: &str,
        known: impl Fn(&PackageSchema) -> Vec<String>,
    ) -> (String, Option<String>) {
        if noun == "type"
            && let Some(near) = self.components.near(token)
        {
            let message = format!("no component or package has a type `{token}`");
            return (message, Some(format!("did you mean `{near}`")));
        }
        let package = package_of(token);
        let Some(schema) = self.schema(package) else {
            let packages = self.providers.packages();
            let near = did_you_mean(package, packages.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean the package `{near}`"),
                None => format!("packages are {}", packages.join(", ")),
            };
            return (format!("no package is named `{package}`"), Some(hint));
        };
        let tokens = known(&schema);
        // Short forms are what people write, so they are what is compared and offered.
        let short: Vec<String> = tokens.iter().map(|t| short_token(t)).collect();
        let near = did_you_mean(&short_token(token), short.iter().map(String::as_str));
        let hint = near.map(|near| format!("did you mean `{near}`"));
        (format!("package `{package}` has no {noun} `{token}`"), hint)
    }
}

/// `docker:index/image:Image` as `docker:Image`, `a:b/c:C` as `a:b:C`.
fn short_token(token: &str) -> String {
    let parts: Vec<&str> = token.split(':').collect();
    match parts.as_slice() {
        [package, module, name] => match module.split('/').next() {
            Some("index") | None => format!("{package}:{name}"),
            Some(module) => format!("{package}:{module}:{name}"),
        },
        _ => token.to_owned(),
    }
}

/// The key of a token: as written, then `pkg:index:Name`, then `pkg:mod/name:Name`; case does not
/// matter.
pub(super) fn find_token<T>(known: &BTreeMap<String, T>, token: &str) -> Option<String> {
    if known.contains_key(token) {
        return Some(token.to_owned());
    }
    let parts: Vec<&str> = token.split(':').collect();
    let (package, module, name) = match parts.as_slice() {
        [package, name] => (*package, "index", *name),
        [package, module, name] => (*package, *module, *name),
        _ => return None,
    };
    let forms = [
        format!("{package}:{module}:{name}"),
        format!("{package}:{module}/{name}:{name}"),
    ];
    forms
        .iter()
        .find_map(|form| known.keys().find(|k| k.eq_ignore_ascii_case(form)))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tokens_find_their_type() {
        let known: BTreeMap<String, ()> =
            ["docker:index/image:Image", "a:index:B", "a:m/x:X", "a:m:y"]
                .map(|t| (t.to_owned(), ()))
                .into();
        for (token, expected) in [
            ("docker:Image", Some("docker:index/image:Image")),
            ("docker:index:image", Some("docker:index/image:Image")),
            ("docker:index/image:Image", Some("docker:index/image:Image")),
            ("a:B", Some("a:index:B")),
            ("a:m:X", Some("a:m/x:X")),
            ("a:m:Y", Some("a:m:y")),
            ("a:X", None),
            ("a", None),
        ] {
            assert_eq!(find_token(&known, token).as_deref(), expected, "{token}");
        }
    }
}
