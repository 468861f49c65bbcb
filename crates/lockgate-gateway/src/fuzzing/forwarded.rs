//! What a forwarded request must be: one request, in one reading, under our name.

use super::reference;
use super::world::World;
use crate::failure::Kind;
use crate::h1::body::Framing;
use crate::path::normalise;
use crate::table::Auth;

/// Fields that only we write, and how often.
const OURS: [(&str, usize); 4] = [
    ("x-request-id", 1),
    ("x-forwarded-for", 1),
    ("x-forwarded-proto", 1),
    ("x-forwarded-host", 1),
];

/// Plans `head`; what is let through must read the same everywhere.
pub(super) fn check(world: &World, head: &[u8]) {
    let planned = world.plan(head);
    let Ok(plan) = planned.plan else {
        return;
    };
    assert_eq!(planned.facts.framing, Some(plan.framing));
    let asked = reference::head(head).expect("the grammar knows what was taken");
    let written = reference::head(&planned.out).expect("what is written is a head");
    let hosts = asked.values("host");
    assert_eq!(hosts.len(), 1, "one host is asked for");
    assert_eq!(written.values("host"), hosts, "and that one goes on");
    written.assert_no_connection_fields(&[]);
    let framing = written.framing(1).expect("one framing");
    assert_eq!(framing.unwrap_or(Framing::Length(0)), plan.framing);

    let mut words = written.start.split(|b| *b == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    assert_eq!(words.next(), Some(&b"HTTP/1.1"[..]));
    assert_eq!(words.next(), None, "a request line has three words");
    assert_eq!(method, asked.start.split(|b| *b == b' ').next());
    let target = std::str::from_utf8(target).expect("ASCII");
    let path = target.split('?').next().unwrap_or_default();
    assert_eq!(normalise(path).as_deref(), Ok(path), "the path is normal");

    for (name, count) in OURS {
        assert_eq!(written.values(name).len(), count, "`{name}`");
    }
    assert!(written.values("forwarded").is_empty() && written.values("x-real-ip").is_empty());
    let nominated = asked.values("connection").concat();
    let kept = ["host", "content-length", "transfer-encoding"];
    for token in nominated.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        let name = token.to_ascii_lowercase();
        let ours = OURS.iter().any(|(n, _)| n.as_bytes() == name) || name == b"expect";
        let gone = !written.fields.iter().any(|(n, _)| *n == name);
        assert!(gone || ours || kept.iter().any(|k| k.as_bytes() == name));
    }
    match &plan.route().auth {
        Auth::ApiKey { header, .. } => {
            assert!(written.values(header).is_empty(), "the key went on");
            assert_eq!(written.values("x-consumer-id"), [b"c"]);
        }
        Auth::Public => {
            assert!(written.values("x-consumer-id").is_empty());
            if plan.route().strip_prefix.is_none() {
                assert_stable(world, &planned.out);
            }
        }
    }
}

/// What we forward, we would forward again byte by byte.
fn assert_stable(world: &World, head: &[u8]) {
    let again = world.plan(head);
    match again.plan {
        Ok(_) => assert_eq!(
            String::from_utf8_lossy(&again.out),
            String::from_utf8_lossy(head)
        ),
        // Our own fields may be too many for one more hop.
        Err(failure) => assert_eq!(failure.kind, Kind::HeadTooLarge),
    }
}
