//! The packages' schemas: JSON in the public package-schema form, parsed into the model once.
//!
//! The files in `schemas/` are ours to write and are the only place where a property is declared;
//! checks, differences, defaults and secret outputs are driven by them.

mod wire;

use std::sync::{Arc, LazyLock};

use lockgate_model::schema::PackageSchema;

/// A schema file that breaks the form; found by the tests of this crate, never by users.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON, or not in the form.
    #[error("parse the schema")]
    Json(#[from] serde_json::Error),
    /// A reference to a type that the file does not declare, or one that never ends.
    #[error("`{0}` is no type of the schema")]
    Type(String),
}

/// Parses one schema file.
pub fn parse(text: &str) -> Result<PackageSchema, SchemaError> {
    serde_json::from_str::<wire::Package>(text)?.into_model()
}

macro_rules! embedded {
    ($($(#[$doc:meta])* $name:ident, $file:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Arc<PackageSchema>> = LazyLock::new(|| {
            Arc::new(parse(include_str!($file)).expect("every schema file is parsed by a test"))
        });
    )*};
}

embedded! {
    /// The `command` package.
    COMMAND, "../schemas/command.json";
    /// The `lockgate` package.
    LOCKGATE, "../schemas/lockgate.json";
    /// The `pulumi` package.
    PULUMI, "../schemas/pulumi.json";
    /// The `random` package.
    RANDOM, "../schemas/random.json";
}
