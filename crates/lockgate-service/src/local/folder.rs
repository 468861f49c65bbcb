//! The folder of an instance and the home they lie in: made, found, removed.

use std::fs::Permissions;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::File;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::stored::StoredInstance;
use super::{cgroup, timestamp_of_ms};
use crate::platform::{ExitCause, ExitReport, ServiceError};
use crate::sandbox::pid1::{PID_FILE, ProcessId};
use crate::sandbox::supervise::{EXIT_FILE, ExitFile};

/// First outside id of the range that a root node maps. Above the ranges that distributions and
/// systemd hand out.
pub(super) const RANGE_BASE: u32 = 0x7000_0000;
/// Ids in the range.
pub(super) const RANGE_COUNT: u32 = 65_536;
/// A start that was cut short by the node's death ends or goes on within this time.
const UNFINISHED_START: Duration = Duration::from_secs(2);
/// Time in which a program that fails can have failed for its port.
const PORT_FAILURE_MS: i64 = 1000;
/// Control clients waiting to be accepted.
const BACKLOG: i32 = 128;

/// `instances/<id>`.
#[derive(Clone, Debug)]
pub(super) struct InstanceFolder {
    path: PathBuf,
}

/// What a folder shows.
pub(super) enum Found {
    /// No such folder, or one whose start was cut short before anything ran.
    Missing,
    /// The sandbox holds its lock.
    Running(Box<Running>),
    /// It ended.
    Ended(Box<StoredInstance>),
}

/// A running instance, not yet watched.
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) stored: StoredInstance,
    pub(super) folder: InstanceFolder,
}

/// The descriptors of a new folder that a sandbox gets.
pub(super) struct FolderFds {
    pub(super) lock: OwnedFd,
    pub(super) listener: OwnedFd,
    pub(super) out: OwnedFd,
}

/// Whether this process is root, and over the range too: the root of a container is not.
pub(crate) fn can_map_range() -> bool {
    let covers = |file| {
        let map = fs_err::read_to_string(file).unwrap_or_default();
        map.lines().any(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(inside)), Some(Ok(_)), Some(Ok(count))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return false;
            };
            let (base, end) = (u64::from(RANGE_BASE), u64::from(RANGE_BASE + RANGE_COUNT));
            inside <= base && end <= inside + count
        })
    };
    rustix::process::geteuid().is_root()
        && covers("/proc/self/uid_map")
        && covers("/proc/self/gid_map")
}

/// Makes the folders of the home. The mapped root must be able to walk through them.
pub(super) fn make_home(home: &Path, is_root: bool) -> io::Result<()> {
    let mode = if is_root { 0o711 } else { 0o700 };
    for path in [
        home.to_owned(),
        home.join("instances"),
        home.join("rootfs"),
        home.join("bin"),
    ] {
        fs_err::create_dir_all(&path)?;
        let had = fs_err::metadata(&path)?.permissions().mode() & 0o777;
        fs_err::set_permissions(&path, Permissions::from_mode(had | mode))?;
    }
    Ok(())
}

/// Keeps the binary below the home, under a name that changes with it, and gives its path
/// relative to the home. The mapped root may not be able to reach the original, and an upgrade
/// must not change what a waiting sandbox is about to run. Older ones are removed: running
/// sandboxes hold theirs by their mounts.
pub(super) fn keep_binary(home: &Path, exe: &Path) -> io::Result<String> {
    let seen = fs_err::metadata(exe)?;
    let name = format!("{:x}-{:x}-{:x}", seen.ino(), seen.mtime_nsec(), seen.size());
    let (folder, relative) = (home.join("bin"), format!("bin/{name}"));
    for entry in fs_err::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_name() != name.as_str() {
            fs_err::remove_file(entry.path())?;
        }
    }
    let kept = folder.join(&name);
    if kept.exists() {
        return Ok(relative);
    }
    let original = fs_err::canonicalize(exe)?;
    let open_to_all = seen.permissions().mode() & 0o005 == 0o005;
    if open_to_all && fs_err::hard_link(original, &kept).is_ok() {
        return Ok(relative);
    }
    let new = folder.join(format!("{name}.new"));
    fs_err::copy(exe, &new)?;
    fs_err::set_permissions(&new, Permissions::from_mode(0o755))?;
    fs_err::rename(new, kept)?;
    Ok(relative)
}

/// Every instance folder of the home, by id.
pub(super) fn all(home: &Path) -> Result<Vec<(String, Found)>, ServiceError> {
    let listed = || -> io::Result<Vec<String>> {
        fs_err::read_dir(home.join("instances"))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let mut ids = listed().map_err(ServiceError::io("list the instances"))?;
    ids.sort();
    let mut all = Vec::new();
    for id in ids {
        let Some(folder) = InstanceFolder::of(home, &id) else {
            continue;
        };
        match folder.find()? {
            // Nothing ran and nothing tells what was wanted.
            Found::Missing => folder.remove()?,
            found => all.push((id, found)),
        }
    }
    Ok(all)
}

impl InstanceFolder {
    /// The folder of an instance; `None` when the id is not one.
    pub(super) fn of(home: &Path, id: &str) -> Option<Self> {
        let proper = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (1..=64).contains(&id.len()) && id.bytes().all(proper);
        valid.then(|| Self {
            path: home.join("instances").join(id),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the folder with its lock taken and its control socket bound; `owner` owns what the
    /// sandbox writes.
    pub(super) fn make(&self, owner: Option<u32>) -> io::Result<FolderFds> {
        fs_err::create_dir(&self.path)?;
        let mode = if owner.is_some() { 0o711 } else { 0o700 };
        fs_err::set_permissions(&self.path, Permissions::from_mode(mode))?;
        for name in ["upper", "work", "mnt", "out"] {
            let path = self.path.join(name);
            fs_err::create_dir(&path)?;
            // `upper` becomes the root of the program, which any of its users may read.
            let mode = if name == "upper" { 0o755 } else { 0o700 };
            fs_err::set_permissions(&path, Permissions::from_mode(mode))?;
            if let Some(owner) = owner {
                std::os::unix::fs::chown(&path, Some(owner), Some(owner))?;
            }
        }
        let lock = OwnedFd::from(self.lock_file()?.into_file());
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let (path, _folder) = self.socket_path()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&listener, &SocketAddrUnix::new(path.as_str())?)?;
        fs_err::set_permissions(path, Permissions::from_mode(0o600))?;
        listen(&listener, BACKLOG)?;
        let out = open_folder(&self.out())?;
        Ok(FolderFds {
            lock,
            listener,
            out,
        })
    }

    fn lock_file(&self) -> io::Result<File> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path.join("lock"))
    }

    /// A short path of the control socket, good as long as the descriptor lives: socket paths are
    /// limited to 108 bytes.
    pub(super) fn socket_path(&self) -> io::Result<(String, OwnedFd)> {
        let folder = open_folder(&self.path)?;
        Ok((format!("/proc/self/fd/{}/ctl", folder.as_raw_fd()), folder))
    }

    pub(super) fn save(&self, stored: &StoredInstance) -> io::Result<()> {
        let new = self.path.join("instance.new");
        let mut file = File::create(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        io::Write::write_all(&mut file, &serde_json::to_vec(stored)?)?;
        file.sync_all()?;
        fs_err::rename(new, self.path.join("instance.json"))?;
        File::open(&self.path)?.sync_all()
    }

    fn load(&self) -> io::Result<StoredInstance> {
        let bytes = fs_err::read(self.path.join("instance.json"))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Tells by the lock whether the instance runs, and then which process it is.
    pub(super) fn find(&self) -> Result<Found, ServiceError> {
        let failed = || ServiceError::io(format!("look at {}", self.path.display()));
        if !self.exists() {
            return Ok(Found::Missing);
        }
        let waits = UNFINISHED_START.as_millis() / 5;
        for _ in 0..waits {
            if self.is_free().map_err(failed())? {
                return Ok(match self.load() {
                    Ok(stored) => Found::Ended(Box::new(stored)),
                    Err(_) => Found::Missing,
                });
            }
            if let Some((pid, pidfd)) = self.process().map_err(failed())? {
                return Ok(Found::Running(Box::new(Running {
                    pid,
                    pidfd,
                    stored: self.load().map_err(failed())?,
                    folder: self.clone(),
                })));
            }
            // Its start was under way when the node died: it ends, or says its pid, at once.
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(failed()(io::ErrorKind::TimedOut.into()))
    }

    /// Whether nobody holds the lock.
    fn is_free(&self) -> io::Result<bool> {
        let lock = self.lock_file()?;
        match flock(lock.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The process that the pid file names, unless the pid has been taken by a later one.
    fn process(&self) -> io::Result<Option<(u32, OwnedFd)>> {
        let text = match fs_err::read_to_string(self.out().join(PID_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(pid)), Some(Ok(start)), true) =
            (words.next(), words.next(), text.ends_with('\n'))
        else {
            return Ok(None);
        };
        let Ok(pid) = i32::try_from(pid) else {
            return Ok(None);
        };
        open_process(ProcessId { pid, start })
    }

    /// How the instance ended, by what it left.
    pub(super) fn exit_report(&self) -> ExitReport {
        let mut report = ExitReport::killed();
        let exit = fs_err::read(self.out().join(EXIT_FILE)).ok();
        let exit = exit.and_then(|bytes| serde_json::from_slice::<ExitFile>(&bytes).ok());
        if let Some(exit) = exit {
            report.at = Some(timestamp_of_ms(exit.at_ms));
            report.cause = match (exit.code, exit.signal) {
                (Some(code), _) => ExitCause::Code(code),
                (None, Some(signal)) => ExitCause::Signal(signal),
                (None, None) => ExitCause::Killed,
            };
        }
        if let Ok(stored) = self.load() {
            report.out_of_memory = cgroup::out_of_memory(&stored.cgroups);
            let failed_early = exit.is_some_and(|exit| {
                exit.code != Some(0) && exit.at_ms - stored.started_ms < PORT_FAILURE_MS
            });
            report.port_taken =
                failed_early && !stored.own_network && TcpListener::bind(stored.address()).is_err();
        }
        report
    }

    /// Removes the folder and the cgroups of an instance that has ended.
    pub(super) fn remove(&self) -> Result<(), ServiceError> {
        let failed = || ServiceError::io(format!("remove {}", self.path.display()));
        if !self.exists() {
            return Ok(());
        }
        if let Ok(stored) = self.load() {
            cgroup::remove(&stored.cgroups).map_err(failed())?;
        }
        remove_tree(&self.path).map_err(failed())
    }
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// A pidfd, if the process is the very one. The pidfd is opened first: what it names cannot
/// change any more when the start time is compared.
fn open_process(id: ProcessId) -> io::Result<Option<(u32, OwnedFd)>> {
    let Some(pid) = Pid::from_raw(id.pid) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", id.pid)).ok();
    let same = stat.and_then(|stat| ProcessId::parse(&stat)) == Some(id);
    Ok(same.then_some((id.pid.unsigned_abs(), pidfd)))
}

/// Removes a tree that may hold folders without permissions, such as overlay's work folder.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    if fs_err::remove_dir_all(path).is_ok() || !path.exists() {
        return Ok(());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        fs_err::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs_err::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_not_taken_for_the_instance() {
        let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
        let me = ProcessId::parse(&stat).unwrap();
        assert_eq!(me.pid.unsigned_abs(), std::process::id());
        assert!(open_process(me).unwrap().is_some());
        let earlier = ProcessId {
            start: me.start - 1,
            ..me
        };
        assert!(open_process(earlier).unwrap().is_none());
    }

    #[test]
    fn ids_cannot_leave_the_home() {
        let home = Path::new("/home");
        for id in ["", "..", "a/b", "A", "a:b", "a,b", &"a".repeat(65)] {
            assert!(InstanceFolder::of(home, id).is_none(), "{id} was accepted");
        }
        assert!(InstanceFolder::of(home, "web-1").is_some());
    }
}
