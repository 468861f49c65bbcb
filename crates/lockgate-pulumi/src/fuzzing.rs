//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

#[path = "../../../fuzz/values.rs"]
mod values;

use std::path::Path;

use lockgate_model::{PropertyMap, Value};
use prost::Message;
use prost_types::Struct;

use crate::duration;
use crate::generated::{
    ReadResourceRequest, RegisterResourceOutputsRequest, RegisterResourceRequest,
    ResourceInvokeRequest,
};
use crate::place::SourceFiles;
use crate::request::{self, Caller};
use crate::wire::{self, Accepts};
use values::Bytes;

/// Every value made of the bytes comes back from the wire as it was sent; a receiver that takes no
/// secrets gets none.
pub fn value(bytes: &[u8]) {
    let properties = PropertyMap::from([("p".to_owned(), Bytes(bytes).value())]);
    assert!(
        same(&round_trip(&properties), &properties),
        "as it was sent"
    );
    let accepts = Accepts {
        secrets: false,
        references: false,
    };
    let bag = wire::encode(&properties, accepts);
    let plain = wire::decode(Some(bag), &mut |_, _| {}).expect("our own encoding");
    assert!(!plain["p"].contains_secret(), "a secret went out");
}

/// Any bytes of a property bag are decoded or refused; what was decoded survives the wire.
pub fn properties(bytes: &[u8]) {
    let Ok(bag) = Struct::decode(bytes) else {
        return;
    };
    let mut named = Vec::new();
    let decoded = wire::decode(Some(bag), &mut |name, _| named.push(name.to_owned()));
    let Ok(decoded) = decoded else {
        return;
    };
    assert!(named.iter().all(|name| decoded.contains_key(name)));
    assert!(same(&round_trip(&decoded), &decoded), "as it was received");
}

/// Any bytes of a request are turned into the engine's terms or refused. The first byte says
/// which request, and what kind of program sent it.
pub fn request(bytes: &[u8]) {
    let Some((control, bytes)) = bytes.split_first() else {
        return;
    };
    let caller = Caller {
        nodejs: control & 4 != 0,
        sources: &SourceFiles::new(Path::new("/project")),
    };
    match control & 3 {
        0 => {
            let Ok(message) = RegisterResourceRequest::decode(bytes) else {
                return;
            };
            let aliases = message.aliases.len() + message.alias_ur_ns.len();
            let (custom, name) = (message.custom, message.name.clone());
            let Ok(taken) = request::registration(message, &caller) else {
                return;
            };
            assert_eq!((taken.custom, taken.name), (custom, name));
            assert!(taken.options.aliases.len() <= aliases);
            let times = taken.options.custom_timeouts;
            let times = [times.create, times.update, times.delete, times.read];
            assert!(
                times
                    .into_iter()
                    .flatten()
                    .all(|s| s >= 0.0 && s.is_finite())
            );
            assert!(same(&round_trip(&taken.inputs), &taken.inputs));
        }
        1 => {
            let message = ReadResourceRequest::decode(bytes).ok();
            let taken = message.and_then(|message| request::read(message, &caller).ok());
            if let Some(taken) = taken {
                assert!(same(&round_trip(&taken.inputs), &taken.inputs));
            }
        }
        2 => {
            let message = ResourceInvokeRequest::decode(bytes).ok();
            let taken = message.and_then(|message| request::invocation(message).ok());
            if let Some(taken) = taken {
                assert!(same(&round_trip(&taken.args), &taken.args));
            }
        }
        _ => {
            let message = RegisterResourceOutputsRequest::decode(bytes).ok();
            let _ = message.map(|message| wire::decode(message.outputs, &mut |_, _| {}));
        }
    }
}

/// A duration is a finite number of seconds, or none.
pub fn duration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(seconds) = duration::seconds(text) {
        assert!(seconds.is_finite() && seconds >= 0.0, "{seconds}");
    }
}

/// Through real bytes, as an SDK would send them.
fn round_trip(properties: &PropertyMap) -> PropertyMap {
    let accepts = Accepts {
        secrets: true,
        references: true,
    };
    let bytes = wire::encode(properties, accepts).encode_to_vec();
    let bag = Struct::decode(bytes.as_slice()).expect("our own bytes");
    wire::decode(Some(bag), &mut |_, _| {}).expect("our own encoding")
}

/// Equal, or both hold a number that equals nothing.
fn same(left: &PropertyMap, right: &PropertyMap) -> bool {
    let nan = |values: &PropertyMap| {
        let odd = |value: &Value| matches!(value, Value::Number(n) if n.is_nan());
        values.values().any(|value| value.any(&mut |v| odd(v)))
    };
    left == right || nan(left) && nan(right)
}

#[cfg(test)]
mod tests;
