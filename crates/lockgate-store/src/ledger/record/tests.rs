//! Any entries come back as they were; whatever happens to the bytes, only whole entries do.

use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, LedgerEntry, Operation, Price,
};
use proptest::prelude::*;

use super::*;

const FIRST: u64 = 70;

fn ids() -> impl Strategy<Value = CallId> {
    let uuid = any::<[u8; 16]>().prop_map(|bytes| {
        let hex = hex::encode(bytes);
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        parts.join("-")
    });
    let request =
        prop_oneof![4 => uuid, 1 => ".{0,40}", 1 => "[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"];
    (request, any::<u32>()).prop_map(|(request, attempt)| CallId {
        request: request.into(),
        attempt,
    })
}

fn terms() -> impl Strategy<Value = Arc<CallTerms>> {
    let name = || ".{0,12}".prop_map(Arc::<str>::from);
    let price =
        (name(), name(), any::<[u64; 7]>()).prop_map(|(version, currency, per_token)| Price {
            version,
            currency,
            rates: rates(per_token),
        });
    let names = [name(), name(), name(), name()];
    let operation = proptest::sample::select(Operation::ALL);
    let callers = [proptest::option::of(name()), proptest::option::of(name())];
    (names, callers, operation, proptest::option::of(price)).prop_map(
        |([route, alias, vendor, vendor_model], [consumer, api_key], operation, price)| {
            Arc::new(CallTerms {
                route,
                consumer,
                api_key,
                alias,
                vendor,
                vendor_model,
                operation,
                price,
            })
        },
    )
}

fn ends() -> impl Strategy<Value = LedgerEntry> {
    let counts = prop_oneof![
        any::<[u64; 7]>(),
        Just([0; 7]),
        Just([9, 0, 0, 0, 300, 0, 0])
    ];
    let end = (
        any::<i64>(),
        proptest::sample::select(CallStatus::ALL),
        any::<Option<u16>>(),
        counts,
        any::<bool>(),
    );
    (ids(), end).prop_map(|(id, (at, status, http_status, tokens, estimated))| {
        let end = CallEnd {
            at: Timestamp(at),
            status,
            http_status,
            usage: usage(tokens),
            estimated,
        };
        LedgerEntry::Settled(id, end)
    })
}

/// Entries of which several share their terms.
fn entries() -> impl Strategy<Value = Vec<LedgerEntry>> {
    let shared = proptest::collection::vec(terms(), 1..4);
    shared.prop_flat_map(|shared| {
        let terms = proptest::sample::select(shared);
        let starts = (ids(), any::<(i64, bool, u64)>(), terms);
        let starts = starts.prop_map(|(id, (at, stream, input_estimate), terms)| {
            let start = CallStart {
                at: Timestamp(at),
                terms,
                stream,
                input_estimate,
            };
            LedgerEntry::Started(id, start)
        });
        let progress = (ids(), any::<u64>()).prop_map(|(id, n)| LedgerEntry::Progress(id, n));
        proptest::collection::vec(prop_oneof![3 => starts, 1 => progress, 3 => ends()], 0..12)
    })
}

/// Frames as the ledger writes them, and where they end.
fn write(entries: &[LedgerEntry]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (number, entry) in (FIRST..).zip(entries) {
        let mut frame = encode(entry);
        seal(&mut frame, number);
        bytes.extend(frame);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn read(bytes: &[u8]) -> Vec<(u64, Option<LedgerEntry>)> {
    let mut terms = SharedTerms::default();
    let (mut at, mut found) = (0, Vec::new());
    while let Some((size, number, body)) = frame(&bytes[at..]) {
        at += size;
        found.push((number, decode(body, &mut terms)));
    }
    found
}

fn numbered(entries: &[LedgerEntry]) -> Vec<(u64, Option<LedgerEntry>)> {
    (FIRST..).zip(entries.iter().cloned().map(Some)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn entries_come_back_as_they_were(entries in entries(), zeros in 0_usize..40) {
        let (mut bytes, _) = write(&entries);
        bytes.resize(bytes.len() + zeros, 0);
        prop_assert_eq!(read(&bytes), numbered(&entries));
    }

    #[test]
    fn what_was_cut_has_its_whole_entries(
        entries in entries(),
        cut in any::<prop::sample::Index>(),
        zeros in 0_usize..40,
    ) {
        let (mut bytes, ends) = write(&entries);
        let cut = cut.index(bytes.len() + 1);
        bytes.truncate(cut);
        bytes.resize(cut + zeros, 0);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let found = read(&bytes);
        // An entry that lacked nothing but zeros is whole again.
        prop_assert!(found.len() == whole || found.len() == whole + 1);
        prop_assert_eq!(&found[..], &numbered(&entries)[..found.len()]);
    }

    #[test]
    fn what_was_changed_has_the_entries_before(
        entries in entries(),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let (mut bytes, ends) = write(&entries);
        prop_assume!(!bytes.is_empty());
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let whole = ends.iter().filter(|end| **end <= place).count();
        prop_assert_eq!(read(&bytes), numbered(&entries[..whole]));
    }

    #[test]
    fn an_entry_has_one_body(
        entries in entries(),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        more in proptest::collection::vec(any::<u8>(), 0..2),
    ) {
        for entry in &entries {
            let mut body = encode(entry).split_off(HEADER_BYTES);
            for (place, value) in &places {
                let place = place.index(body.len());
                body[place] = *value;
            }
            body.extend(&more);
            let Some(read) = decode(&body, &mut SharedTerms::default()) else {
                continue;
            };
            let again = encode(&read).split_off(HEADER_BYTES);
            prop_assert!(body.starts_with(b"{") || again == body, "{read:?} is also {body:02x?}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        // As a body with a good checksum, which no disk makes by chance.
        let _ = decode(&bytes, &mut SharedTerms::default());
    }
}

#[test]
fn the_format_stays_as_it_is() {
    let terms = Arc::new(CallTerms {
        route: "r".into(),
        consumer: Some("c".into()),
        api_key: None,
        alias: "fast".into(),
        vendor: "v".into(),
        vendor_model: "m".into(),
        operation: Operation::Chat,
        price: Some(Price {
            version: "p".into(),
            currency: "USD".into(),
            rates: rates([150_000, 0, 0, 0, 600_000, 0, 0]),
        }),
    });
    let id = CallId {
        request: "01a22466-784a-702a-93a7-5e9ec0ed754e".into(),
        attempt: 1,
    };
    let start = CallStart {
        at: Timestamp(1_795_907_024_970_904_612),
        terms,
        stream: true,
        input_estimate: 300,
    };
    let end = CallEnd {
        at: Timestamp(1_795_907_024_974_129_229),
        status: CallStatus::Ok,
        http_status: Some(200),
        usage: usage([140, 0, 0, 0, 180, 0, 0]),
        estimated: false,
    };
    let entries = [
        LedgerEntry::Started(id.clone(), start.clone()),
        LedgerEntry::Progress(id.clone(), 3),
        LedgerEntry::Started(id.clone(), start),
        LedgerEntry::Settled(id, end),
    ];
    let (bytes, _) = write(&entries);
    let golden = include_bytes!("../testdata/binary.ledger");
    assert_eq!(hex::encode(&bytes), hex::encode(golden));
    assert_eq!(read(golden), numbered(&entries));
}

#[test]
fn a_second_body_of_an_entry_is_refused() {
    let uuid = "01a22466-784a-702a-93a7-5e9ec0ed754e";
    let text = |flags: u8, id: &str, rest: &[u8]| {
        let id = id.as_bytes();
        [&[flags, id.len() as u8], id, rest].concat()
    };
    let end = |rest: &[u8]| text(SETTLED | TEXT_ID, "r", &[&[1; 10][..], rest].concat());
    let start = |flag: u8| {
        let rest = [1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 0];
        text(STARTED | TEXT_ID | flag, "r", &rest)
    };
    let reads = |body: &[u8]| decode(body, &mut SharedTerms::default()).is_some();
    let fine = [
        text(PROGRESS | TEXT_ID, "r", &[1, 0x80, 1]),
        end(&[1, 5]),
        start(0),
        start(MARKED),
    ];
    for body in fine {
        assert!(reads(&body), "{body:02x?}");
    }
    let second = [
        // A longer form of a count.
        text(PROGRESS | TEXT_ID, "r", &[1, 0x81, 0]),
        text(PROGRESS | TEXT_ID, "r", &[0x81, 0x80, 0, 1]),
        // A count of zero that is said to be another.
        end(&[1, 0]),
        // A UUID as text.
        text(PROGRESS | TEXT_ID, uuid, &[1, 1]),
        // Flags without a meaning.
        text(PROGRESS | TEXT_ID | MARKED, "r", &[1, 1]),
        text(PROGRESS | TEXT_ID | 0x80, "r", &[1, 1]),
        start(HTTP_STATUS),
    ];
    for body in second {
        assert!(!reads(&body), "{body:02x?}");
    }
}

#[test]
fn terms_that_are_the_same_are_one_object() {
    let entry = |n: u32| {
        let terms = CallTerms {
            route: "r".into(),
            consumer: None,
            api_key: None,
            alias: "a".into(),
            vendor: "v".into(),
            vendor_model: "m".into(),
            operation: Operation::Chat,
            price: None,
        };
        let start = CallStart {
            at: Timestamp(0),
            terms: Arc::new(terms),
            stream: false,
            input_estimate: 0,
        };
        let request = n.to_string().into();
        LedgerEntry::Started(
            CallId {
                request,
                attempt: 1,
            },
            start,
        )
    };
    let (bytes, _) = write(&[entry(1), entry(2)]);
    let read: Vec<_> = read(&bytes).into_iter().map(|(_, entry)| entry).collect();
    let [
        Some(LedgerEntry::Started(_, one)),
        Some(LedgerEntry::Started(_, two)),
    ] = &read[..]
    else {
        panic!("{read:?}")
    };
    assert!(Arc::ptr_eq(&one.terms, &two.terms));
}
