//! The options of a resource as the engine takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::Span;
use lockgate_engine::source::{Alias, AliasParent, ResourceOptions};
use lockgate_model::{Urn, Value};

use super::{Evaluator, Failure, ResolvedResource};
use crate::expression::Expression;
use crate::program::Options;

impl Evaluator<'_> {
    /// All options but the provider default, which the caller knows.
    pub(crate) fn options(&mut self, options: &Options) -> Result<ResourceOptions, Failure> {
        let mut out = ResourceOptions {
            retain_on_delete: options.retain_on_delete,
            ignore_changes: options.ignore_changes.clone(),
            replace_on_changes: options.replace_on_changes.clone(),
            delete_before_replace: options.delete_before_replace,
            additional_secret_outputs: options.additional_secret_outputs.clone(),
            import_id: options.import_id.clone(),
            hide_diffs: options.hide_diffs.clone(),
            version: options.version.clone(),
            ..ResourceOptions::default()
        };
        for (name, expression) in &options.expressions {
            let span = expression.span;
            match *name {
                "parent" => out.parent = self.one(expression, name)?.map(|r| r.urn.clone()),
                "deletedWith" => {
                    out.deleted_with = self.one(expression, name)?.map(|r| r.urn.clone())
                }
                "provider" => {
                    out.provider = self
                        .one(expression, name)?
                        .map(|resource| resource.as_provider())
                }
                "dependsOn" => out.depends_on = self.urns(expression, name)?,
                "replaceWith" => out.replace_with = self.urns(expression, name)?,
                "providers" => out.providers = self.providers(expression)?,
                "aliases" => out.aliases = self.aliases(expression)?,
                "replacementTrigger" => {
                    let value = self.value(expression)?;
                    out.replacement_trigger = (value != Value::Null).then_some(value);
                }
                "protect" => {
                    let value = self.value(expression)?;
                    out.protect = match value.unsecret() {
                        Value::Null => None,
                        Value::Bool(protect) => Some(*protect),
                        found => return Err(self.wrong(span, "`protect`", "a boolean", found)),
                    };
                }
                "customTimeouts.create" => out.custom_timeouts.create = self.seconds(expression)?,
                "customTimeouts.update" => out.custom_timeouts.update = self.seconds(expression)?,
                "customTimeouts.delete" => out.custom_timeouts.delete = self.seconds(expression)?,
                "customTimeouts.read" => out.custom_timeouts.read = self.seconds(expression)?,
                _ => {}
            }
        }
        Ok(out)
    }

    /// One resource; null is none.
    pub(crate) fn one(
        &mut self,
        expression: &Expression,
        name: &str,
    ) -> Result<Option<Arc<ResolvedResource>>, Failure> {
        let value = self.value(expression)?;
        self.resource_of(&value, name, expression.span)
    }

    fn resource_of(
        &self,
        value: &Value,
        name: &str,
        span: Span,
    ) -> Result<Option<Arc<ResolvedResource>>, Failure> {
        match value.unsecret() {
            Value::Null => Ok(None),
            Value::Reference(reference) => match self.find_resource(&reference.urn) {
                Some(resource) => Ok(Some(resource)),
                None => Err(self.fail(span, "the resource is not part of this program")),
            },
            found => Err(self.wrong(span, &format!("`{name}`"), "a resource", found)),
        }
    }

    /// Resources as a list; a single one is a list of one.
    pub(crate) fn urns(
        &mut self,
        expression: &Expression,
        name: &str,
    ) -> Result<Vec<Urn>, Failure> {
        let value = self.value(expression)?;
        let items = match value.unsecret() {
            Value::List(items) => items.clone(),
            _ => vec![value],
        };
        let mut urns = Vec::with_capacity(items.len());
        for item in &items {
            if let Some(resource) = self.resource_of(item, name, expression.span)? {
                urns.push(resource.urn.clone());
                if name == "dependsOn" {
                    urns.extend_from_slice(resource.members());
                }
            }
        }
        Ok(urns)
    }

    /// A map by package, or a list whose packages are known from the resources.
    fn providers(&mut self, expression: &Expression) -> Result<BTreeMap<String, String>, Failure> {
        let value = self.value(expression)?;
        let items: Vec<(Option<String>, Value)> = match value.unsecret() {
            Value::Map(map) => map
                .iter()
                .map(|(k, v)| (Some(k.clone()), v.clone()))
                .collect(),
            Value::List(items) => items.iter().map(|v| (None, v.clone())).collect(),
            found => {
                return Err(self.wrong(expression.span, "`providers`", "a map or a list", found));
            }
        };
        let mut providers = BTreeMap::new();
        for (package, item) in items {
            if let Some(resource) = self.resource_of(&item, "providers", expression.span)? {
                let package = package.unwrap_or_else(|| resource.urn.package().to_owned());
                providers.insert(package, resource.as_provider());
            }
        }
        Ok(providers)
    }

    fn aliases(&mut self, expression: &Expression) -> Result<Vec<Alias>, Failure> {
        let span = expression.span;
        let value = self.value(expression)?;
        let Value::List(items) = value.unsecret() else {
            return Err(self.wrong(span, "`aliases`", "a list", &value));
        };
        items.iter().map(|item| self.alias(item, span)).collect()
    }

    fn alias(&self, item: &Value, span: Span) -> Result<Alias, Failure> {
        // The text itself may be secret, so it is not shown.
        const FORM: &str =
            "an alias must be a URN like `urn:pulumi:<stack>::<project>::<type>::<name>`";
        let urn = |text: &str| Urn::parse(text).map_err(|_| self.fail(span, FORM));
        let map = match item.unsecret() {
            Value::String(text) => return Ok(Alias::Urn(urn(text)?)),
            Value::Map(map) => map,
            found => return Err(self.wrong(span, "an alias", "a URN or a map", found)),
        };
        let known = [
            "name",
            "type",
            "stack",
            "project",
            "parent",
            "parentUrn",
            "noParent",
            "urn",
        ];
        if let Some(unknown) = map.keys().find(|k| !known.contains(&k.as_str())) {
            return Err(self.fail(span, format!("an alias has no field `{unknown}`")));
        }
        let text = |name: &str| match map.get(name).map(Value::unsecret) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(found) => {
                Err(self.wrong(span, &format!("`{name}` of an alias"), "a string", found))
            }
        };
        if let Some(text) = text("urn")? {
            return Ok(Alias::Urn(urn(&text)?));
        }
        let no_parent = map.get("noParent").and_then(Value::as_bool) == Some(true);
        let parent = match map.get("parent") {
            _ if no_parent => AliasParent::None,
            Some(Value::String(text)) => AliasParent::Urn(urn(text)?),
            Some(value) => match self.resource_of(value, "parent", span)? {
                Some(resource) => AliasParent::Urn(resource.urn.clone()),
                None => AliasParent::Same,
            },
            None => match text("parentUrn")? {
                Some(text) => AliasParent::Urn(urn(&text)?),
                None => AliasParent::Same,
            },
        };
        Ok(Alias::Parts {
            name: text("name")?,
            type_token: text("type")?,
            stack: text("stack")?,
            project: text("project")?,
            parent,
        })
    }

    fn seconds(&mut self, expression: &Expression) -> Result<Option<f64>, Failure> {
        let value = self.value(expression)?;
        let span = expression.span;
        match value.unsecret() {
            Value::Null => Ok(None),
            Value::Number(seconds) if *seconds >= 0.0 => Ok(Some(*seconds)),
            Value::String(text) => parse_duration(text).map(Some).ok_or_else(|| {
                self.fail(span, "a timeout must be a duration like `5m` or `1h30m`")
            }),
            found => Err(self.wrong(span, "a timeout", "a duration like `5m`", found)),
        }
    }
}

/// `1h30m`, `1.5s`, `300ms` in seconds.
fn parse_duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        seconds += number * factor;
        rest = &rest[end..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_read_in_seconds() {
        for (text, seconds) in [
            ("5m", Some(300.0)),
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("250ms", Some(0.25)),
            ("0", Some(0.0)),
            ("5", None),
            ("", None),
            ("5 m", None),
            ("m", None),
        ] {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
    }
}
