//! What this machine allows the local platform to do, found by trying it: a real, tiny sandbox,
//! not a list of settings.

use std::fmt;
use std::path::Path;

use lockgate_diag::{Diagnostic, codes};

use crate::local::cgroup::Cgroups;
use crate::local::folder::can_map_range;
use crate::local::trial::{Trial, TrialError};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Works.
    Good,
    /// Works in a lesser way.
    Limited,
    /// Does not work; services cannot run here.
    Missing,
}

impl Verdict {
    /// The word for people and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen, and why.
    pub cause: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, cause: impl Into<String>) -> Self {
        Self {
            name,
            verdict,
            cause: cause.into(),
            remedy: String::new(),
        }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// As a diagnostic; `None` when all is good.
    pub fn diagnostic(&self) -> Option<Diagnostic> {
        let message = format!("{}: {}", self.name, self.cause);
        let diagnostic = match self.verdict {
            Verdict::Good => return None,
            Verdict::Limited => Diagnostic::warning(codes::service::DOCTOR_FINDING, message),
            Verdict::Missing => Diagnostic::error(codes::service::DOCTOR_FINDING, message),
        };
        Some(if self.remedy.is_empty() {
            diagnostic
        } else {
            diagnostic.hint(self.remedy.clone())
        })
    }
}

/// All checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorReport {
    /// In the order in which a start needs them.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        let worst = self.checks.iter().map(|check| check.verdict).max();
        worst.unwrap_or(Verdict::Good)
    }
}

/// Tries what the local platform needs. `home` is the node's home, `exe` the binary whose `main`
/// calls [`crate::sandbox_main`] first. Blocks for some 20 ms.
pub fn doctor(home: &Path, exe: &Path) -> DoctorReport {
    let is_root = can_map_range();
    let mut checks = vec![sandbox(home, exe, Trial::Overlay)];
    if checks[0].verdict == Verdict::Missing {
        let copied = sandbox(home, exe, Trial::Copy);
        if copied.verdict == Verdict::Good {
            checks[0].verdict = Verdict::Limited;
            checks[0]
                .cause
                .push_str("; images are copied for each instance instead");
        }
    }
    checks.push(ids(is_root));
    checks.push(limits(is_root));
    checks.push(egress(is_root));
    DoctorReport { checks }
}

fn sandbox(home: &Path, exe: &Path, trial: Trial) -> Check {
    const NAME: &str = "sandbox";
    match trial.run(home, exe) {
        Ok(took) => Check::new(
            NAME,
            Verdict::Good,
            format!("a trial was ready in {} ms", took.as_millis()),
        ),
        Err(TrialError::Step { step, errno, text }) => {
            let (cause, remedy) = explain(&step, errno);
            let cause = format!("{step}: {text}{cause}");
            Check::new(NAME, Verdict::Missing, cause).remedy(remedy)
        }
        Err(TrialError::Machine(error)) => Check::new(NAME, Verdict::Missing, error.to_string())
            .remedy("check that the node's home can be written and its file system is not full"),
    }
}

/// A known cause of a failed step, and what helps.
struct Cause {
    step: &'static str,
    errno: rustix::io::Errno,
    /// A file whose trimmed text must be this, if the errno alone does not tell.
    setting: Option<(&'static str, &'static str)>,
    cause: &'static str,
    remedy: &'static str,
}

/// Looked through from the top; the first that fits is told.
const CAUSES: &[Cause] = &[
    Cause {
        step: "unshare",
        errno: rustix::io::Errno::NOSPC,
        setting: None,
        cause: "; no more user or pid name spaces are allowed",
        remedy: "run `sysctl -w user.max_user_namespaces=15000 user.max_pid_namespaces=15000`, or use `platform: docker`",
    },
    Cause {
        step: "unshare",
        errno: rustix::io::Errno::PERM,
        setting: Some(("/proc/sys/kernel/unprivileged_userns_clone", "0")),
        cause: "; the kernel denies user name spaces to users",
        remedy: "run `sysctl -w kernel.unprivileged_userns_clone=1`",
    },
    Cause {
        step: "unshare",
        errno: rustix::io::Errno::PERM,
        setting: None,
        cause: "; this process runs in a chroot, or in a container whose filter denies it",
        remedy: "run the node outside of it, or use `platform: docker`",
    },
    Cause {
        step: "id map",
        errno: rustix::io::Errno::PERM,
        setting: Some((APPARMOR, "1")),
        cause: "; AppArmor denies capabilities in user name spaces",
        remedy: "install an AppArmor profile with `userns,` for this binary, or run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    },
    Cause {
        step: "private mounts",
        errno: rustix::io::Errno::ACCESS,
        setting: Some((APPARMOR, "1")),
        cause: "; AppArmor denies capabilities in user name spaces",
        remedy: "install an AppArmor profile with `userns,` for this binary, or run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    },
    Cause {
        step: "proc",
        errno: rustix::io::Errno::PERM,
        setting: None,
        cause: "; proc is partly concealed here, as in a container",
        remedy: "run the node on the machine itself, or the container with an unmasked proc",
    },
    Cause {
        step: "overlay",
        errno: rustix::io::Errno::INVAL,
        setting: None,
        cause: "; the node's home lies on a file system that overlays cannot use, such as another overlay",
        remedy: "set LOCKGATE_HOME to a folder on a volume",
    },
    Cause {
        step: "overlay",
        errno: rustix::io::Errno::NODEV,
        setting: None,
        cause: "; the kernel has no overlay file system",
        remedy: "run `modprobe overlay`",
    },
];

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

fn explain(step: &str, errno: i32) -> (&'static str, &'static str) {
    let fits = |cause: &&Cause| {
        cause.step == step
            && cause.errno.raw_os_error() == errno
            && cause.setting.is_none_or(|(file, value)| {
                fs_err::read_to_string(file).is_ok_and(|text| text.trim() == value)
            })
    };
    let found = CAUSES.iter().find(fits);
    found.map_or(("", ""), |cause| (cause.cause, cause.remedy))
}

fn ids(is_root: bool) -> Check {
    const NAME: &str = "ids";
    if is_root {
        return Check::new(
            NAME,
            Verdict::Good,
            "root maps 65536 ids into each instance",
        );
    }
    Check::new(
        NAME,
        Verdict::Limited,
        "each instance has one id: programs that change their user cannot run",
    )
    .remedy("set USER in the image to the user that the program shall run as")
}

fn limits(is_root: bool) -> Check {
    const NAME: &str = "limits";
    match Cgroups::find(is_root) {
        Cgroups::Unified(path) => Check::new(
            NAME,
            Verdict::Good,
            format!("cgroup v2 at {}", path.display()),
        ),
        Cgroups::Split { .. } => Check::new(NAME, Verdict::Good, "cgroup v1, as root"),
        Cgroups::Missing => Check::new(
            NAME,
            Verdict::Limited,
            "no cgroup is delegated: memory is limited per process only",
        )
        .remedy("run the node in a systemd unit with `Delegate=yes`"),
    }
}

/// Instances with a network of their own reach nothing outside in this version; the check says
/// which helper a later one could use.
fn egress(is_root: bool) -> Check {
    const NAME: &str = "outbound network";
    let found = ["pasta", "slirp4netns"].into_iter().find(|program| {
        ["/usr/bin", "/usr/local/bin", "/bin"]
            .into_iter()
            .any(|folder| Path::new(folder).join(program).exists())
    });
    let helper = match (found, is_root) {
        (Some(program), _) => format!("{program} is installed but not used yet"),
        (None, true) => "no pasta or slirp4netns; root could make a veth pair".to_owned(),
        (None, false) => "no pasta or slirp4netns".to_owned(),
    };
    let cause = format!("services with a fixed port reach nothing outside ({helper})");
    Check::new(NAME, Verdict::Limited, cause)
        .remedy("let a service that calls out listen on PORT instead of a fixed port")
}
