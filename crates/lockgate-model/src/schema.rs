//! What a resource package declares about its types.

use std::collections::BTreeMap;

use crate::value::Value;

/// A package: its resource types and functions by full token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackageSchema {
    /// Package name, the first part of every token.
    pub name: String,
    /// Version, without a leading `v`.
    pub version: String,
    /// One paragraph.
    pub description: String,
    /// Resources by full token, for example `random:index/randomId:RandomId`.
    pub resources: BTreeMap<String, ResourceSchema>,
    /// Functions (invokes) by full token.
    pub functions: BTreeMap<String, FunctionSchema>,
}

/// A resource type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSchema {
    /// Documentation, Markdown.
    pub description: String,
    /// Inputs by name.
    pub inputs: BTreeMap<String, PropertySchema>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, PropertySchema>,
}

/// A function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionSchema {
    /// Documentation, Markdown.
    pub description: String,
    /// Arguments by name.
    pub inputs: BTreeMap<String, PropertySchema>,
    /// Results by name.
    pub outputs: BTreeMap<String, PropertySchema>,
}

/// A property.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertySchema {
    /// Documentation, Markdown.
    pub description: String,
    /// Its type.
    pub kind: PropertyKind,
    /// Must be given.
    pub required: bool,
    /// Secret by itself, whatever the program says.
    pub secret: bool,
    /// A change replaces the resource.
    pub replace_on_changes: bool,
    /// Used when the program gives none.
    pub default: Option<Value>,
    /// The only value it may have; filled in when missing.
    pub constant: Option<Value>,
    /// Why it should no longer be used.
    pub deprecated: Option<String>,
}

/// The type of a property.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PropertyKind {
    /// Any value.
    #[default]
    Any,
    /// A boolean.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Text, possibly one of a closed set.
    String {
        /// The set, if closed.
        one_of: Vec<String>,
    },
    /// A list of one type.
    List(Box<PropertyKind>),
    /// A map with free keys.
    Map(Box<PropertyKind>),
    /// A map with known keys.
    Object(BTreeMap<String, PropertySchema>),
    /// An asset.
    Asset,
    /// An archive.
    Archive,
    /// One of several types.
    OneOf(Vec<PropertyKind>),
    /// A resource of a type token.
    Resource(String),
}
