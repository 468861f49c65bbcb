//! Instances outlive their node, and nothing outlives an instance.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lockgate_model::service::HealthProbe;
use lockgate_service::{Adopted, AdoptedState, ExitCause, LogCursor, LogFrom, Platform as _};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, args, exe, images};
use crate::support::spec;

const SECOND: Duration = Duration::from_secs(1);

/// A node in a process of its own, killed if the test forgets it.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an instance from another process; gives the pid of its sandbox.
fn node(lab: &Lab, id: &str, command: &[&str]) -> (Node, u32) {
    let mut child = Command::new(exe())
        .arg("node")
        .arg(lab.home())
        .arg(images())
        .arg(id)
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid = line.trim().parse().expect("the node printed a pid");
    (Node(child), pid)
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn only(adopted: Vec<Adopted>) -> Adopted {
    assert_eq!(adopted.len(), 1, "{adopted:?}");
    adopted.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_killed_nodes_instance_is_adopted_and_serves_on() {
    let lab = Lab::new();
    let (dead, pid) = node(&lab, "lasting", &["serve"]);
    drop(dead);
    let adopted = only(lab.platform.adopt().await.unwrap());
    assert_eq!(adopted.spec, spec("lasting", &args(&["serve"])));
    let AdoptedState::Running(instance) = adopted.state else {
        panic!("{adopted:?}")
    };
    assert_eq!(instance.pid, pid);
    let probe = HealthProbe::Http {
        path: "/".to_owned(),
    };
    let served = async {
        while lab.platform.probe("lasting", &probe, SECOND).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(20 * SECOND, served).await.unwrap();
    lab.platform.stop("lasting", SECOND).await.unwrap();
    assert_eq!(lab.left(), [""; 0]);
    assert!(lab.platform.adopt().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_instance_that_ended_unwatched_tells_how() {
    let lab = Lab::new();
    let (dead, pid) = node(&lab, "short", &["exit", "5"]);
    drop(dead);
    // The lock is free once the sandbox is gone; adoption waits for nothing.
    wait_gone(pid);
    let adopted = only(lab.platform.adopt().await.unwrap());
    let AdoptedState::Exited(report) = adopted.state else {
        panic!("{adopted:?}")
    };
    assert_eq!(report.cause, ExitCause::Code(5));
    lab.platform.stop("short", SECOND).await.unwrap();
    assert!(!lab.home().join("instances/short").exists());
}

fn wait_gone(pid: u32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let timeout = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    assert_eq!(
        poll(&mut fds, Some(&timeout)).unwrap(),
        1,
        "{pid:?} does not end"
    );
}

#[tokio::test]
async fn killing_the_sandbox_or_the_program_leaves_no_process_mount_or_lock() {
    let lab = Lab::new();
    let instance = lab
        .platform
        .start(spec("pid1", &args(&["deaf"])))
        .await
        .unwrap();
    lab.printed("pid1", "deaf").await;
    kill(instance.pid);
    assert_eq!(lab.platform.exit("pid1").await.cause, ExitCause::Killed);
    assert_eq!(lab.left(), [""; 0]);
    let instance = lab
        .platform
        .start(spec("program", &args(&["deaf"])))
        .await
        .unwrap();
    lab.printed("program", "deaf").await;
    let children = format!("/proc/{0}/task/{0}/children", instance.pid);
    let children = fs_err::read_to_string(children).unwrap();
    kill(children.split_whitespace().next().unwrap().parse().unwrap());
    assert_eq!(
        lab.platform.exit("program").await.cause,
        ExitCause::Signal(9)
    );
    assert_eq!(lab.left(), [""; 0]);
    // Free locks: a later node finds both ended.
    let adopted = lab.next_node().adopt().await.unwrap();
    assert!(
        adopted
            .iter()
            .all(|a| matches!(a.state, AdoptedState::Exited(_))),
        "{adopted:?}"
    );
    for id in ["pid1", "program"] {
        lab.platform.stop(id, SECOND).await.unwrap();
    }
}

/// Kills the node after a growing number of scheduler turns, so that it dies in every phase of a
/// start, A and B among them.
#[tokio::test]
async fn a_node_killed_during_a_start_leaves_nothing_that_a_later_one_cannot_end() {
    let lab = Lab::new();
    for turn in 0..40 {
        let mut child = Command::new(exe())
            .arg("node")
            .arg(lab.home())
            .arg(images())
            .args([format!("phase-{turn}").as_str(), "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let folder = lab.home().join(format!("instances/phase-{turn}"));
        while !folder.join("ctl").exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        for _ in 0..turn * 40 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let node = lab.next_node();
        for adopted in node.adopt().await.unwrap() {
            node.stop(&adopted.spec.id, SECOND).await.unwrap();
        }
        assert!(!folder.exists(), "turn {turn}");
    }
    assert_eq!(lab.left(), [""; 0]);
}

#[tokio::test]
async fn a_flood_of_output_goes_on_and_rotates_without_a_node() {
    let lab = Lab::new();
    let (dead, _) = node(&lab, "flood", &["flood"]);
    drop(dead);
    let out = lab.home().join("instances/flood/out");
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let rotated = async {
        while !out.join("log.6").exists() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(60 * SECOND, rotated)
        .await
        .expect("six files");
    let files = fs_err::read_dir(&out).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("log.")
    });
    assert!(files.count() <= 5, "old files stay");
    let adopted = only(lab.platform.adopt().await.unwrap());
    assert!(
        matches!(adopted.state, AdoptedState::Running(_)),
        "{adopted:?}"
    );
    let lines = lab
        .platform
        .logs("flood", LogFrom::After(LogCursor::default()))
        .await
        .unwrap();
    let numbers: Vec<u64> = lines
        .lines
        .iter()
        .map(|line| line.text.parse().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "lines are missing"
    );
    lab.platform.stop("flood", SECOND).await.unwrap();
    assert_eq!(lab.left(), [""; 0]);
}
