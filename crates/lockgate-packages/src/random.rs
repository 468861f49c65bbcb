//! The `random` package: values drawn once and kept until an input changes.
//!
//! Inputs, outputs, secrecy and replacement are those of the public package. Seeded integers and
//! shuffles are repeatable but differ from the public package's, which depend on the generator
//! of one language's standard library.

mod draw;
mod kinds;
mod text;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::Rng;

use crate::package::{Kind, Package};
use crate::schema;

/// The package over a source of randomness.
pub(crate) fn package(rng: &Arc<dyn Rng>) -> Package {
    let rng = || Arc::clone(rng);
    let kinds: [(&'static str, Box<dyn Kind>); 8] = [
        (
            "random:index/randomBytes:RandomBytes",
            Box::new(kinds::Bytes(rng())),
        ),
        ("random:index/randomId:RandomId", Box::new(kinds::Id(rng()))),
        (
            "random:index/randomInteger:RandomInteger",
            Box::new(kinds::Integer(rng())),
        ),
        (
            "random:index/randomPassword:RandomPassword",
            Box::new(text::Password(rng())),
        ),
        (
            "random:index/randomPet:RandomPet",
            Box::new(kinds::Pet(rng())),
        ),
        (
            "random:index/randomShuffle:RandomShuffle",
            Box::new(kinds::Shuffle(rng())),
        ),
        (
            "random:index/randomString:RandomString",
            Box::new(text::Text(rng())),
        ),
        (
            "random:index/randomUuid:RandomUuid",
            Box::new(kinds::Uuid(rng())),
        ),
    ];
    Package {
        schema: Arc::clone(&schema::RANDOM),
        kinds: kinds.into(),
        functions: BTreeMap::new(),
    }
}
