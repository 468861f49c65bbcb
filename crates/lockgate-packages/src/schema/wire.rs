//! The JSON form of a package schema, as far as our own files use it.

use std::collections::BTreeMap;

use lockgate_model::Value;
use lockgate_model::schema::{
    FunctionSchema, PackageSchema, PropertyKind, PropertySchema, ResourceSchema,
};
use serde::Deserialize;

use super::SchemaError;

/// Types nested deeper than this can only be a type that holds itself.
const DEPTH_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    name: String,
    version: String,
    description: String,
    #[serde(default)]
    types: BTreeMap<String, NamedType>,
    resources: BTreeMap<String, Resource>,
    #[serde(default)]
    functions: BTreeMap<String, Function>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Resource {
    description: String,
    properties: BTreeMap<String, Property>,
    required: Vec<String>,
    input_properties: BTreeMap<String, Property>,
    required_inputs: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Function {
    description: String,
    inputs: Object,
    outputs: Object,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Object {
    properties: BTreeMap<String, Property>,
    required: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedType {
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "read by generators of documents, not by this crate"
    )]
    description: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    properties: BTreeMap<String, Property>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default, rename = "enum")]
    one_of: Vec<EnumValue>,
}

#[derive(Deserialize)]
struct EnumValue {
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Property {
    description: String,
    #[serde(flatten)]
    kind: TypeSpec,
    secret: bool,
    replace_on_changes: bool,
    will_replace_on_changes: bool,
    default: Option<serde_json::Value>,
    r#const: Option<serde_json::Value>,
    deprecation_message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct TypeSpec {
    #[serde(rename = "type")]
    name: Option<String>,
    #[serde(rename = "$ref")]
    reference: Option<String>,
    items: Option<Box<TypeSpec>>,
    additional_properties: Option<Box<TypeSpec>>,
    one_of: Vec<TypeSpec>,
}

type Types = BTreeMap<String, NamedType>;

impl Package {
    pub(super) fn into_model(self) -> Result<PackageSchema, SchemaError> {
        let types = &self.types;
        let mut resources = BTreeMap::new();
        for (token, resource) in &self.resources {
            let schema = ResourceSchema {
                description: resource.description.clone(),
                inputs: properties(
                    types,
                    &resource.input_properties,
                    &resource.required_inputs,
                    0,
                )?,
                outputs: properties(types, &resource.properties, &resource.required, 0)?,
            };
            resources.insert(token.clone(), schema);
        }
        let mut functions = BTreeMap::new();
        for (token, function) in &self.functions {
            let object = |o: &Object| properties(types, &o.properties, &o.required, 0);
            let schema = FunctionSchema {
                description: function.description.clone(),
                inputs: object(&function.inputs)?,
                outputs: object(&function.outputs)?,
            };
            functions.insert(token.clone(), schema);
        }
        Ok(PackageSchema {
            name: self.name,
            version: self.version,
            description: self.description,
            resources,
            functions,
        })
    }
}

fn properties(
    types: &Types,
    wire: &BTreeMap<String, Property>,
    required: &[String],
    depth: usize,
) -> Result<BTreeMap<String, PropertySchema>, SchemaError> {
    if let Some(stray) = required.iter().find(|name| !wire.contains_key(*name)) {
        return Err(SchemaError::Type(stray.clone()));
    }
    wire.iter()
        .map(|(name, property)| {
            let schema = PropertySchema {
                description: property.description.clone(),
                kind: kind(types, &property.kind, depth)?,
                required: required.contains(name),
                secret: property.secret,
                replace_on_changes: property.replace_on_changes || property.will_replace_on_changes,
                default: property.default.as_ref().map(value),
                constant: property.r#const.as_ref().map(value),
                deprecated: property.deprecation_message.clone(),
            };
            Ok((name.clone(), schema))
        })
        .collect()
}

fn kind(types: &Types, wire: &TypeSpec, depth: usize) -> Result<PropertyKind, SchemaError> {
    if let Some(reference) = &wire.reference {
        return named(types, reference, depth);
    }
    if !wire.one_of.is_empty() {
        let kinds = wire.one_of.iter().map(|w| kind(types, w, depth));
        return Ok(PropertyKind::OneOf(kinds.collect::<Result<_, _>>()?));
    }
    let inner = |spec: &Option<Box<TypeSpec>>| match spec {
        Some(spec) => kind(types, spec, depth).map(Box::new),
        None => Ok(Box::new(PropertyKind::Any)),
    };
    match wire.name.as_deref() {
        Some("boolean") => Ok(PropertyKind::Bool),
        Some("integer") => Ok(PropertyKind::Integer),
        Some("number") => Ok(PropertyKind::Number),
        Some("string") => Ok(PropertyKind::String { one_of: Vec::new() }),
        Some("array") => Ok(PropertyKind::List(inner(&wire.items)?)),
        Some("object") => Ok(PropertyKind::Map(inner(&wire.additional_properties)?)),
        other => Err(SchemaError::Type(other.unwrap_or_default().to_owned())),
    }
}

fn named(types: &Types, reference: &str, depth: usize) -> Result<PropertyKind, SchemaError> {
    let error = || SchemaError::Type(reference.to_owned());
    match reference {
        "pulumi.json#/Any" => return Ok(PropertyKind::Any),
        "pulumi.json#/Asset" => return Ok(PropertyKind::Asset),
        "pulumi.json#/Archive" => return Ok(PropertyKind::Archive),
        _ => {}
    }
    if depth >= DEPTH_MAX {
        return Err(error());
    }
    let name = reference.strip_prefix("#/types/").ok_or_else(error)?;
    let found = types.get(name).ok_or_else(error)?;
    match found.kind.as_str() {
        "object" => {
            let inner = properties(types, &found.properties, &found.required, depth + 1)?;
            Ok(PropertyKind::Object(inner))
        }
        "string" => Ok(PropertyKind::String {
            one_of: found.one_of.iter().map(|v| v.value.clone()).collect(),
        }),
        _ => Err(error()),
    }
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        // Numbers of schemas are small and written by us; every one of them is a finite float.
        serde_json::Value::Number(n) => Value::Number(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Value::from(s.as_str()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(value).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.iter().map(|(k, v)| (k.clone(), value(v))).collect())
        }
    }
}
