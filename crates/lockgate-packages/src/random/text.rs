//! Random text from classes of characters: `RandomString` and `RandomPassword`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, ProviderError, ReadResponse,
};
use lockgate_model::{PropertyMap, Rng, Value};

use super::draw::{bytes, index, shuffle};
use crate::bag;
use crate::check::failure;
use crate::package::Kind;

const SPECIAL: &str = "!@#$%&*()-_=+[]{}<>:?";
/// Text longer than this is no password; the bound keeps a typing error from filling the state.
const LENGTH_MAX: u64 = 65_536;
/// What the public package uses; about 50 ms of work.
const BCRYPT_COST: u32 = 10;

/// A class of characters: its alphabet, and how many at least.
struct Class {
    alphabet: Vec<char>,
    least: u64,
}

fn classes(inputs: &PropertyMap) -> Vec<Class> {
    let numeric = bag::boolean(inputs, "numeric").or_else(|| bag::boolean(inputs, "number"));
    let on = |name| bag::boolean(inputs, name).unwrap_or(true);
    let special = bag::text(inputs, "overrideSpecial")
        .filter(|text| !text.is_empty())
        .unwrap_or(SPECIAL);
    [
        (on("lower"), "abcdefghijklmnopqrstuvwxyz", "minLower"),
        (on("upper"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "minUpper"),
        (numeric.unwrap_or(true), "0123456789", "minNumeric"),
        (on("special"), special, "minSpecial"),
    ]
    .into_iter()
    .map(|(used, alphabet, least)| Class {
        alphabet: if used {
            alphabet.chars().collect()
        } else {
            Vec::new()
        },
        least: bag::unsigned(inputs, least).unwrap_or(0),
    })
    .collect()
}

fn check(inputs: &PropertyMap) -> Vec<CheckFailure> {
    if inputs.values().any(Value::contains_unknown) {
        return Vec::new();
    }
    let mut failures = Vec::new();
    let length = bag::integer(inputs, "length").unwrap_or(0);
    if !(1..=LENGTH_MAX.cast_signed()).contains(&length) {
        let reason = format!("expected 1 to {LENGTH_MAX}, found {length}");
        failures.push(failure("length", reason));
    }
    for name in ["minLower", "minUpper", "minNumeric", "minSpecial"] {
        if bag::integer(inputs, name).is_some_and(|n| n < 0) {
            failures.push(failure(name, "must not be negative"));
        }
    }
    let classes = classes(inputs);
    let least = classes
        .iter()
        .fold(0_u64, |sum, c| sum.saturating_add(c.least));
    if length >= 1 && least > length.unsigned_abs() {
        let reason = format!("is {length}, but the `min` properties ask for {least} characters");
        failures.push(failure("length", reason));
    }
    if classes.iter().all(|c| c.alphabet.is_empty()) {
        failures.push(failure("", "every class of characters is switched off"));
    }
    let names = ["minLower", "minUpper", "minNumeric", "minSpecial"];
    for (class, name) in classes.iter().zip(names) {
        if class.alphabet.is_empty() && class.least > 0 {
            failures.push(failure(
                name,
                "asks for characters of a class that is switched off",
            ));
        }
    }
    failures
}

fn draw(rng: &dyn Rng, inputs: &PropertyMap) -> String {
    let classes = classes(inputs);
    let length = bag::unsigned(inputs, "length").unwrap_or(0);
    let every: Vec<char> = classes
        .iter()
        .flat_map(|c| c.alphabet.iter().copied())
        .collect();
    let pick = |alphabet: &[char]| alphabet[index(rng, alphabet.len())];
    let mut text = Vec::new();
    for class in &classes {
        text.extend((0..class.least).map(|_| pick(&class.alphabet)));
    }
    let rest = length.saturating_sub(text.len() as u64);
    text.extend((0..rest).map(|_| pick(&every)));
    // The least ones stand at the front until here.
    shuffle(rng, &mut text);
    text.into_iter().collect()
}

/// Outputs of both types: the inputs, their defaults and the result.
fn outputs(inputs: &PropertyMap, result: &str) -> PropertyMap {
    let numeric = bag::boolean(inputs, "numeric").or_else(|| bag::boolean(inputs, "number"));
    let numeric = Value::Bool(numeric.unwrap_or(true));
    let mut outputs = inputs.clone();
    outputs.insert("numeric".into(), numeric.clone());
    outputs.insert("number".into(), numeric);
    outputs.insert("result".into(), result.into());
    outputs
}

fn bcrypt(rng: &dyn Rng, text: &str) -> Result<String, ProviderError> {
    let mut salt = [0; 16];
    salt.copy_from_slice(&bytes(rng, 16));
    let head = &text.as_bytes()[..text.len().min(72)];
    let parts = bcrypt::hash_with_salt(head, BCRYPT_COST, salt)
        .map_err(|error| ProviderError::failed(format!("cannot hash the password: {error}")))?;
    Ok(parts.format_for_version(bcrypt::Version::TwoA))
}

/// Imported text: everything but the result is at its default.
fn imported(id: &str, result: &str) -> ReadResponse {
    let length = bag::number(result.chars().count() as u64);
    let inputs: PropertyMap = [("length".to_owned(), length)].into();
    ReadResponse {
        id: id.to_owned(),
        outputs: outputs(&inputs, result),
        inputs: Some(inputs),
    }
}

/// `RandomString`: its id is the text.
pub(super) struct Text(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Text {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        check(inputs)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let result = draw(self.0.as_ref(), &req.inputs);
        Ok(CreateResponse {
            outputs: outputs(&req.inputs, &result),
            id: result,
        })
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        Ok(imported(id, id))
    }
}

/// `RandomPassword`: its id says nothing.
pub(super) struct Password(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Password {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        check(inputs)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let result = draw(self.0.as_ref(), &req.inputs);
        let mut outputs = outputs(&req.inputs, &result);
        let hash = bcrypt(self.0.as_ref(), &result)?;
        outputs.insert("bcryptHash".into(), hash.into());
        Ok(CreateResponse {
            id: "none".into(),
            outputs,
        })
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        // The id of an import is the password itself; the state must not keep it in clear.
        let mut read = imported("none", id);
        let hash = bcrypt(self.0.as_ref(), id)?;
        read.outputs.insert("bcryptHash".into(), hash.into());
        Ok(read)
    }
}
