//! Start, reach, read, stop.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lockgate_model::gateway::EndpointSpec;
use lockgate_model::service::HealthProbe;
use lockgate_service::{ExitCause, LogFrom, LogStream, Platform as _, ServiceError};

use crate::lab::{Lab, args};
use crate::support::spec;

const SECOND: Duration = Duration::from_secs(1);

/// Probes until the instance works.
async fn healthy(lab: &Lab, id: &str, probe: &HealthProbe) {
    let tried = async {
        while lab.platform.probe(id, probe, SECOND).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tried)
        .await
        .expect("healthy");
}

fn get(mut stream: TcpStream) -> String {
    stream.set_nonblocking(false).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_service_on_the_machines_network_serves_and_stops() {
    let lab = Lab::new();
    let instance = lab.platform.start(spec("web", &[])).await.unwrap();
    healthy(&lab, "web", &HealthProbe::Tcp).await;
    let EndpointSpec::Tcp(address) = instance.endpoint else {
        panic!("{instance:?}")
    };
    assert!(get(TcpStream::connect(address).unwrap()).ends_with("hello"));
    let path = |path: &str| HealthProbe::Http {
        path: path.to_owned(),
    };
    lab.platform.probe("web", &path("/"), SECOND).await.unwrap();
    let bad = lab
        .platform
        .probe("web", &path("/bad"), SECOND)
        .await
        .unwrap_err();
    assert_eq!(bad, "GET /bad answered 500");
    lab.platform.stop("web", SECOND).await.unwrap();
    assert!(
        lab.platform
            .probe("web", &HealthProbe::Tcp, SECOND)
            .await
            .is_err()
    );
    assert_eq!(lab.left(), [""; 0]);
    lab.platform
        .stop("web", SECOND)
        .await
        .expect("stopping twice succeeds");
}

#[tokio::test]
async fn two_versions_with_one_fixed_port_run_side_by_side() {
    let lab = Lab::new();
    for (id, greeting) in [("v1", "first"), ("v2", "second")] {
        let mut spec = spec(id, &[]);
        spec.service.fixed_port = Some(8080);
        spec.service
            .env
            .insert("GREETING".to_owned(), greeting.to_owned());
        let instance = lab.platform.start(spec).await.unwrap();
        let handed = EndpointSpec::Handed {
            instance: id.to_owned(),
            port: 8080,
        };
        assert_eq!(instance.endpoint, handed);
        healthy(
            &lab,
            id,
            &HealthProbe::Http {
                path: "/".to_owned(),
            },
        )
        .await;
    }
    for (id, greeting) in [("v1", "first"), ("v2", "second")] {
        let stream = lab.platform.dial(id, 8080).await.unwrap();
        assert!(get(stream).ends_with(greeting));
        let refused = lab.platform.dial(id, 9).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        lab.platform.stop(id, SECOND).await.unwrap();
    }
    assert!(
        TcpStream::connect(("127.0.0.1", 8080)).is_err(),
        "the port leaked to the machine"
    );
}

#[tokio::test]
async fn a_full_accept_queue_hangs_neither_the_sandbox_nor_the_node() {
    let lab = Lab::new();
    let mut spec = spec("full", &args(&["full"]));
    spec.service.fixed_port = Some(80);
    lab.platform.start(spec).await.unwrap();
    lab.printed("full", "full").await;
    let mut streams = Vec::new();
    let mut hung = 0;
    for _ in 0..6 {
        match tokio::time::timeout(SECOND / 5, lab.platform.dial("full", 80)).await {
            Ok(stream) => streams.push(stream.unwrap()),
            Err(_) => hung += 1,
        }
    }
    assert!(hung > 0, "the queue was never full");
    let begun = Instant::now();
    lab.platform.stop("full", SECOND).await.unwrap();
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn health_commands_run_inside_and_end_in_time() {
    let lab = Lab::new();
    let mut spec = spec("inside", &[]);
    spec.service.image.tag = Some("user-33".to_owned());
    lab.platform.start(spec).await.unwrap();
    let run = async |words: &[&str], timeout| {
        let probe = HealthProbe::Command { argv: args(words) };
        lab.platform.probe("inside", &probe, timeout).await
    };
    run(&["/probe", "exit", "0"], 10 * SECOND).await.unwrap();
    let error = run(&["/probe", "exit", "4"], 10 * SECOND)
        .await
        .unwrap_err();
    assert_eq!(error, "the health command exited with 4");
    let error = run(&["/missing"], 10 * SECOND).await.unwrap_err();
    assert_eq!(error, "the health command exited with 126");
    let error = run(&["/probe", "deaf"], SECOND / 2).await.unwrap_err();
    assert_eq!(error, "the health command did not end within 500ms");
    lab.platform.stop("inside", SECOND).await.unwrap();
    assert_eq!(lab.left(), [""; 0]);
}

#[tokio::test]
async fn output_keeps_order_streams_and_the_last_line_without_an_end() {
    let lab = Lab::new();
    lab.platform
        .start(spec("talk", &args(&["speak"])))
        .await
        .unwrap();
    let exit = lab.platform.exit("talk").await;
    assert_eq!(exit.cause, ExitCause::Code(0));
    assert!(exit.at.is_some() && !exit.out_of_memory && !exit.port_taken);
    let lines = lab
        .platform
        .logs("talk", LogFrom::Last(10))
        .await
        .unwrap()
        .lines;
    let seen: BTreeSet<_> = lines
        .iter()
        .map(|l| (l.text.as_str(), l.stream == LogStream::Out))
        .collect();
    assert_eq!(
        seen,
        BTreeSet::from([("to out", true), ("to err", false), ("begun", true)])
    );
    lab.platform.stop("talk", SECOND).await.unwrap();
    assert!(matches!(
        lab.platform.logs("talk", LogFrom::Last(1)).await,
        Err(ServiceError::NoInstance(_))
    ));
}

#[tokio::test]
async fn a_program_deaf_to_term_is_gone_soon_after_the_deadline() {
    let lab = Lab::new();
    lab.platform
        .start(spec("deaf", &args(&["deaf"])))
        .await
        .unwrap();
    lab.printed("deaf", "deaf").await;
    let begun = Instant::now();
    lab.platform
        .stop("deaf", Duration::from_millis(300))
        .await
        .unwrap();
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(lab.left(), [""; 0]);
}

#[tokio::test]
async fn failures_to_start_are_named_and_leave_nothing() {
    let lab = Lab::new();
    let mut missing = spec("missing", &[]);
    missing.service.command = Some(args(&["/nowhere"]));
    let error = lab.platform.start(missing).await.unwrap_err();
    let ServiceError::Program {
        program, source, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (program.as_str(), source.kind()),
        ("/nowhere", std::io::ErrorKind::NotFound)
    );
    assert_eq!(error.diagnostic().code.as_str(), "LG0402");
    let mut nobody = spec("nobody", &[]);
    nobody.service.image.tag = Some("user-nobody".to_owned());
    let error = lab.platform.start(nobody).await.unwrap_err().to_string();
    assert_eq!(error, "user `nobody` is not in /etc/passwd of the image");
    assert!(lab.platform.start(spec("../x", &[])).await.is_err());
    let instances: Vec<_> = fs_err::read_dir(lab.home().join("instances"))
        .unwrap()
        .collect();
    assert!(instances.is_empty(), "{instances:?}");
    assert_eq!(lab.left(), [""; 0]);
}

#[tokio::test]
async fn a_port_taken_by_another_is_reported_as_such() {
    let lab = Lab::new();
    let mut late = spec("late", &[]);
    // The program fails as it would on `address in use`, and the test holds its port by then.
    late.service.command = Some(args(&["/probe", "exit", "3"]));
    let instance = lab.platform.start(late).await.unwrap();
    let EndpointSpec::Tcp(address) = instance.endpoint else {
        panic!("{instance:?}")
    };
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let exit = lab.platform.exit("late").await;
    assert_eq!((exit.cause, exit.port_taken), (ExitCause::Code(3), true));
    lab.platform.stop("late", SECOND).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_starts_at_once_all_serve() {
    let lab = Lab::new();
    let mut starts = tokio::task::JoinSet::new();
    for n in 0..40 {
        let platform = std::sync::Arc::clone(&lab.platform);
        starts.spawn(async move {
            let begun = Instant::now();
            let instance = platform
                .start(spec(&format!("many-{n}"), &[]))
                .await
                .unwrap();
            while platform
                .probe(&instance.id, &HealthProbe::Tcp, SECOND)
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
            (begun.elapsed(), instance)
        });
    }
    let done = starts.join_all().await;
    let ports: BTreeSet<_> = done
        .iter()
        .map(|(_, instance)| format!("{:?}", instance.endpoint))
        .collect();
    assert_eq!(ports.len(), 40, "a port was given twice");
    let mut times: Vec<_> = done.iter().map(|(time, _)| *time).collect();
    times.sort();
    println!("40 at once: median {:?}, worst {:?}", times[20], times[39]);
    for (_, instance) in &done {
        lab.platform.stop(&instance.id, SECOND).await.unwrap();
    }
    assert_eq!(lab.left(), [""; 0]);
}

/// The figures are printed; the bounds are what a loaded machine must keep in a debug build.
#[tokio::test]
async fn a_start_is_quick_and_its_pid_1_is_small() {
    let lab = Lab::new();
    let mut times = Vec::new();
    let mut pids = Vec::new();
    for n in 0..20 {
        let begun = Instant::now();
        let instance = lab
            .platform
            .start(spec(&format!("small-{n}"), &[]))
            .await
            .unwrap();
        times.push(begun.elapsed());
        pids.push(instance.pid);
    }
    let pss = |pid: u32| -> Option<u64> {
        let text = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    let mut sizes: Vec<_> = pids.into_iter().filter_map(pss).collect();
    times.sort();
    sizes.sort_unstable();
    println!(
        "20 in a row: median {:?}, worst {:?}; Pss kB {sizes:?}",
        times[10], times[19]
    );
    assert!(times[10] < SECOND / 2, "{times:?}");
    assert!(sizes.iter().all(|kb| *kb < 8192), "{sizes:?}");
    for n in 0..20 {
        lab.platform
            .stop(&format!("small-{n}"), SECOND)
            .await
            .unwrap();
    }
}
