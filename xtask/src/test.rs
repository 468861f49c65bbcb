//! `cargo xtask test`: installs what the tests need, then runs every check.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};
use lockgate_testkit::languages::{self, Language};

use crate::{build, codegen, sh, tidy};

/// Programs that tests run for real, with the Debian package that brings each.
const PROGRAMS: &[(&str, &str)] = &[
    ("nginx", "nginx-light"),
    ("newuidmap", "uidmap"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("busybox", "busybox-static"),
    ("chromium", "chromium"),
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// Runs format check, clippy, tidy and all tests; first installs what is missing if asked.
pub(crate) fn run(install: bool) -> Result<()> {
    if install {
        install_programs()?;
        let exe = build(false)?;
        for language in Language::ALL {
            languages::packages(&exe, language)?;
        }
    }
    let steps: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("format", &|| sh("cargo", &["fmt", "--all", "--check"])),
        ("clippy", &|| {
            sh(
                "cargo",
                &[
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
            )
        }),
        ("tidy", &tidy::run),
        ("codegen", &|| codegen::run(true)),
        // Without a selection of targets: with `--all-targets` the programs of `examples/`, which
        // tests start, are built as tests and not as programs.
        ("tests", &|| {
            sh("cargo", &["test", "--workspace", "--no-fail-fast"])
        }),
    ];
    for (name, step) in steps {
        let start = Instant::now();
        step()?;
        println!("{name}: good ({:.0} s)", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Installs missing Debian packages when root; otherwise prints the line that does.
fn install_programs() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout == b"0\n");
    if !root {
        bail!(
            "tests need more programs: sudo apt-get install -y {}",
            missing.join(" ")
        );
    }
    sh("apt-get", &["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(missing);
    sh("apt-get", &args)
}

fn on_path(program: &str) -> bool {
    // Debian keeps servers in sbin, which is not on every user's path.
    let script = format!("PATH=$PATH:/usr/sbin:/sbin command -v {program}");
    Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
