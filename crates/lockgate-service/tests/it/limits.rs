//! Limits hold, and their breach is named.

use std::time::Duration;

use lockgate_service::{ExitCause, Platform as _};

use crate::lab::{Lab, after, args};
use crate::support::spec;

#[tokio::test]
async fn a_program_that_eats_memory_ends_alone_and_is_reported() {
    let lab = Lab::new();
    let mut spec = spec("eater", &args(&["eat"]));
    spec.service.limits.memory_bytes = Some(32 << 20);
    let instance = lab.platform.start(spec).await.unwrap();
    let exit = lab.platform.exit("eater").await;
    if instance.notes.is_empty() {
        assert_eq!(exit.cause, ExitCause::Signal(9));
        assert!(exit.out_of_memory, "{exit:?}");
    } else {
        println!("no memory cgroup here: {:?}", instance.notes);
        // The allocation fails, and the probe writes to address 0.
        assert_eq!(exit.cause, ExitCause::Signal(11));
    }
    lab.platform.stop("eater", Duration::ZERO).await.unwrap();
    assert_eq!(lab.left(), [""; 0]);
}

#[tokio::test]
async fn process_and_file_limits_reach_the_program() {
    let lab = Lab::new();
    let mut spec = spec("few", &args(&["report"]));
    spec.service.limits.processes = Some(16);
    spec.service.limits.open_files = Some(99);
    let lines = lab.report(spec).await;
    let limit = |name: &str| {
        let line = after(&lines, "limit ").find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
            .split_whitespace()
            .next()
    };
    assert_eq!(limit("Max open files"), Some("99"));
    assert_eq!(limit("Max core file size"), Some("0"));
    // The processes are counted by a cgroup where there is one, else by the resource limit.
    let group = after(&lines, "cgroup ").any(|line| line.contains("lockgate-few"));
    assert!(group || limit("Max processes") == Some("16"), "{lines:?}");
}
