//! Identifiers, numbers, names, lists, UUIDs and bytes.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, ProviderError, ReadResponse,
};
use lockgate_model::{PropertyMap, Rng, Value};

use super::draw::{Seeded, below, bytes, index, shuffle};
use super::words::{ADJECTIVES, ADVERBS, NAMES};
use crate::bag;
use crate::check::failure;
use crate::package::Kind;

/// Longest of everything counted here; keeps a typing error from filling the state.
const COUNT_MAX: i64 = 65_536;

fn created(
    id: impl Into<String>,
    inputs: PropertyMap,
    results: impl IntoIterator<Item = (&'static str, Value)>,
) -> CreateResponse {
    let mut outputs = inputs;
    outputs.extend(results.into_iter().map(|(k, v)| (k.to_owned(), v)));
    CreateResponse {
        id: id.into(),
        outputs,
    }
}

fn check_count(inputs: &PropertyMap, name: &str, least: i64) -> Vec<CheckFailure> {
    match bag::integer(inputs, name) {
        Some(n) if !(least..=COUNT_MAX).contains(&n) => {
            let reason = format!("expected {least} to {COUNT_MAX}, found {n}");
            vec![failure(name, reason)]
        }
        _ => Vec::new(),
    }
}

fn count(inputs: &PropertyMap, name: &str) -> Option<usize> {
    bag::unsigned(inputs, name).and_then(|n| usize::try_from(n).ok())
}

/// What an import makes of inputs that its id tells.
fn imported(
    read: Option<(PropertyMap, CreateResponse)>,
    expected: &str,
) -> Result<ReadResponse, ProviderError> {
    let (inputs, created) =
        read.ok_or_else(|| ProviderError::failed(format!("the import id must be {expected}")))?;
    Ok(ReadResponse {
        id: created.id,
        inputs: Some(inputs),
        outputs: created.outputs,
    })
}

/// `RandomId`.
pub(super) struct Id(pub(super) Arc<dyn Rng>);

impl Id {
    fn response(inputs: PropertyMap, raw: &[u8]) -> CreateResponse {
        let prefix = bag::text(&inputs, "prefix").unwrap_or_default().to_owned();
        let with_prefix = |text: &str| Value::String(format!("{prefix}{text}"));
        let id = URL_SAFE_NO_PAD.encode(raw);
        let results = [
            ("b64Std", with_prefix(&STANDARD.encode(raw))),
            ("b64Url", with_prefix(&id)),
            ("dec", with_prefix(&decimal(raw))),
            ("hex", with_prefix(&hex::encode(raw))),
        ];
        created(id, inputs, results)
    }
}

/// Big-endian bytes as a decimal number.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(sum % 10).unwrap_or_default();
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    digits.iter().rev().map(|d| char::from(b'0' + d)).collect()
}

#[async_trait]
impl Kind for Id {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        // The decimal form takes quadratic time, so ids stay far below other lengths.
        match bag::integer(inputs, "byteLength") {
            Some(n) if !(1..=1024).contains(&n) => {
                vec![failure(
                    "byteLength",
                    format!("expected 1 to 1024, found {n}"),
                )]
            }
            _ => Vec::new(),
        }
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let length = count(&req.inputs, "byteLength").unwrap_or_default();
        let raw = bytes(self.0.as_ref(), length);
        Ok(Self::response(req.inputs, &raw))
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        let read = || {
            let (prefix, text) = id.rsplit_once(',').unwrap_or(("", id));
            let raw = URL_SAFE_NO_PAD.decode(text).ok()?;
            let mut inputs = PropertyMap::new();
            inputs.insert("byteLength".into(), bag::number(raw.len() as u64));
            if !prefix.is_empty() {
                inputs.insert("prefix".into(), prefix.into());
            }
            Some((inputs.clone(), Self::response(inputs, &raw)))
        };
        imported(read(), "`[prefix,]b64Url`")
    }
}

/// `RandomInteger`.
pub(super) struct Integer(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Integer {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        match (bag::integer(inputs, "min"), bag::integer(inputs, "max")) {
            (Some(min), Some(max)) if min > max => {
                vec![failure(
                    "max",
                    format!("is {max}, below `min`, which is {min}"),
                )]
            }
            _ => Vec::new(),
        }
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let inputs = req.inputs;
        let min = bag::integer(&inputs, "min").unwrap_or_default();
        let max = bag::integer(&inputs, "max").unwrap_or_default();
        let seeded = bag::text(&inputs, "seed")
            .filter(|s| !s.is_empty())
            .map(Seeded::new);
        let rng: &dyn Rng = seeded.as_ref().map_or(self.0.as_ref(), |s| s);
        let drawn = match max.abs_diff(min).checked_add(1) {
            Some(span) => below(rng, span),
            None => rng.next_u64(),
        };
        let result = min.wrapping_add_unsigned(drawn);
        #[expect(
            clippy::cast_precision_loss,
            reason = "numbers of programs are 64-bit floats"
        )]
        let value = Value::Number(result as f64);
        Ok(created(result.to_string(), inputs, [("result", value)]))
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        let read = || {
            let mut parts = id.splitn(4, ',');
            let mut number = || parts.next()?.trim().parse::<i32>().ok();
            let (result, min, max) = (number()?, number()?, number()?);
            let value = |n: i32| Value::Number(f64::from(n));
            let mut inputs = PropertyMap::new();
            inputs.insert("min".into(), value(min));
            inputs.insert("max".into(), value(max));
            if let Some(seed) = parts.next() {
                inputs.insert("seed".into(), seed.into());
            }
            let response = created(
                result.to_string(),
                inputs.clone(),
                [("result", value(result))],
            );
            Some((inputs, response))
        };
        imported(read(), "`result,min,max[,seed]`")
    }
}

/// `RandomPet`.
pub(super) struct Pet(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Pet {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        check_count(inputs, "length", 1)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let rng = self.0.as_ref();
        let pick = |words: &[&'static str]| words[index(rng, words.len())];
        let length = count(&req.inputs, "length").unwrap_or(2);
        let prefix = bag::text(&req.inputs, "prefix").filter(|p| !p.is_empty());
        let mut words: Vec<&str> = prefix.into_iter().collect();
        words.extend((2..length).map(|_| pick(ADVERBS)));
        if length > 1 {
            words.push(pick(ADJECTIVES));
        }
        words.push(pick(NAMES));
        let separator = bag::text(&req.inputs, "separator").unwrap_or("-");
        let id = words.join(separator);
        Ok(created(id, req.inputs, []))
    }
}

/// `RandomShuffle`.
pub(super) struct Shuffle(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Shuffle {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        check_count(inputs, "resultCount", 0)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let inputs = req.inputs;
        let seeded = bag::text(&inputs, "seed")
            .filter(|s| !s.is_empty())
            .map(Seeded::new);
        let rng: &dyn Rng = seeded.as_ref().map_or(self.0.as_ref(), |s| s);
        let items = bag::list(&inputs, "inputs");
        let wanted = count(&inputs, "resultCount").unwrap_or(items.len());
        let mut results = Vec::new();
        // Each round uses every item once, so that no item is ahead of another by two.
        while results.len() < wanted && !items.is_empty() {
            let mut round = items.to_vec();
            shuffle(rng, &mut round);
            round.truncate(wanted - results.len());
            results.append(&mut round);
        }
        let results = [("results", Value::List(results))];
        Ok(created("-", inputs, results))
    }
}

/// `RandomUuid`.
pub(super) struct Uuid(pub(super) Arc<dyn Rng>);

#[async_trait]
impl Kind for Uuid {
    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let mut raw = [0; 16];
        self.0.fill(&mut raw);
        let uuid = uuid::Builder::from_random_bytes(raw)
            .into_uuid()
            .to_string();
        let results = [("result", Value::from(uuid.as_str()))];
        Ok(created(uuid, req.inputs, results))
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        let read = || {
            let uuid = uuid::Uuid::try_parse(id).ok()?.to_string();
            let results = [("result", Value::from(uuid.as_str()))];
            Some((
                PropertyMap::new(),
                created(uuid, PropertyMap::new(), results),
            ))
        };
        imported(read(), "a UUID")
    }
}

/// `RandomBytes`: the bytes are secret, so the id says nothing.
pub(super) struct Bytes(pub(super) Arc<dyn Rng>);

impl Bytes {
    fn response(inputs: PropertyMap, raw: &[u8]) -> CreateResponse {
        let results = [
            ("base64", Value::from(STANDARD.encode(raw))),
            ("hex", Value::from(hex::encode(raw))),
        ];
        created("none", inputs, results)
    }
}

#[async_trait]
impl Kind for Bytes {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        check_count(inputs, "length", 1)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let length = count(&req.inputs, "length").unwrap_or_default();
        let raw = bytes(self.0.as_ref(), length);
        Ok(Self::response(req.inputs, &raw))
    }

    fn import(&self, _ctx: &CallContext, id: &str) -> Result<ReadResponse, ProviderError> {
        let read = || {
            let raw = STANDARD.decode(id).ok()?;
            let mut inputs = PropertyMap::new();
            inputs.insert("length".into(), bag::number(raw.len() as u64));
            Some((inputs.clone(), Self::response(inputs, &raw)))
        };
        imported(read(), "base64")
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn bytes_print_as_decimal_numbers_of_any_size() {
        for (bytes, expected) in [
            (&[0_u8, 0][..], "0"),
            (&[1, 0], "256"),
            (&[0xff; 8], "18446744073709551615"),
            (&[0xff; 9], "4722366482869645213695"),
        ] {
            assert_eq!(decimal(bytes), expected);
        }
    }
}
