//! Damage of every kind at every byte.

use super::*;

const RUN: u64 = 7;

/// Three batches of frames, each durable before the next begins; gives the batch ends too.
fn journal() -> (Vec<u8>, Vec<Vec<u8>>, Vec<usize>) {
    let payloads: Vec<Vec<u8>> = (0..6u8).map(|n| vec![n; 5 + usize::from(n) * 3]).collect();
    let (mut bytes, mut ends, mut durable) = (Vec::new(), Vec::new(), 0);
    for (sequence, payload) in payloads.iter().enumerate() {
        encode_frame(&mut bytes, sequence as u64, RUN, durable, payload);
        if sequence % 2 == 1 {
            durable = bytes.len() as u64;
            ends.push(bytes.len());
        }
    }
    (bytes, payloads, ends)
}

fn read(bytes: &[u8], scan: &Scan) -> Vec<Vec<u8>> {
    let ranges = scan.payloads.iter();
    ranges.map(|range| bytes[range.clone()].to_vec()).collect()
}

#[test]
fn a_whole_journal_reads_back() {
    let (bytes, payloads, _) = journal();
    let scan = scan(&bytes, RUN);
    assert_eq!(read(&bytes, &scan), payloads);
    assert_eq!((scan.rest, scan.damaged_at), (0, None));
}

#[test]
fn a_cut_at_any_byte_leaves_a_prefix() {
    let (bytes, payloads, _) = journal();
    for length in 0..bytes.len() {
        let scan = scan(&bytes[..length], RUN);
        let found = read(&bytes, &scan);
        assert_eq!(found, payloads[..found.len()], "cut at {length}");
        assert_eq!(scan.damaged_at, None, "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_is_damage_where_it_was_acknowledged_and_a_torn_tail_after() {
    let (bytes, payloads, ends) = journal();
    let last_batch = ends[1];
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[index] ^= 1 << bit;
            let scan = scan(&broken, RUN);
            let found = read(&broken, &scan);
            assert_eq!(found, payloads[..found.len()], "byte {index} bit {bit}");
            assert!(found.len() < payloads.len(), "byte {index} bit {bit}");
            assert_eq!(
                scan.damaged_at.is_some(),
                index < last_batch,
                "byte {index} bit {bit}"
            );
        }
    }
}

#[test]
fn frames_of_another_run_are_not_taken() {
    let (mut bytes, payloads, _) = journal();
    encode_frame(&mut bytes, payloads.len() as u64, RUN - 1, 0, b"stale");
    assert_eq!(scan(&bytes, RUN).payloads.len(), payloads.len());
}
