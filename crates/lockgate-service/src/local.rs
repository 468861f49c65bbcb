//! The local platform: an image in its own name spaces, without Docker and without root.
//!
//! Each instance has a folder `instances/<id>` in the node's home that says everything a later
//! node needs: `lock` (held by the sandbox as long as it lives), `ctl` (its control socket),
//! `instance.json` (what was asked for, without secrets) and `out/` (log, pid, exit report).

pub(crate) mod cgroup;
mod control;
mod copy;
pub(crate) mod folder;
mod logs;
mod probe;
mod start;
mod stored;
pub(crate) mod trial;
mod user;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::service::HealthProbe;
use lockgate_model::{Clock, Rng, Timestamp};
use parking_lot::Mutex;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::image::{ImageSource, StoreImages};
use crate::platform::{
    Adopted, AdoptedState, ExitReport, Instance, InstanceSpec, LogChunk, LogFrom, Platform,
    ServiceError,
};
use crate::sandbox::channel::Request;
use folder::{Found, InstanceFolder};
use stored::StoredInstance;

/// Time that a sandbox gets beyond the deadline of a stop before it is killed itself, and that
/// the kernel then gets to remove its processes.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How the root file system of an instance is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RootMode {
    /// An overlay; a copy of the image where the kernel or the file system refuses overlays.
    #[default]
    Auto,
    /// Always a copy.
    Copy,
}

/// What the local platform needs to know.
#[derive(Clone)]
pub struct LocalSettings {
    /// Folder of the node; made if missing. Holds `instances`, `rootfs` and `bin`.
    pub home: PathBuf,
    /// The binary whose `main` calls [`crate::sandbox_main`] first; `/proc/self/exe` works also
    /// after an upgrade replaced the file.
    pub exe: PathBuf,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for port numbers.
    pub rng: Arc<dyn Rng>,
    /// How root file systems are made.
    pub root: RootMode,
}

/// The platform `local`.
pub struct LocalPlatform {
    inner: Arc<Inner>,
}

/// Shared with the blocking calls.
struct Inner {
    settings: LocalSettings,
    images: Arc<dyn ImageSource>,
    /// Whether this node is root over a range of ids, and so maps it into instances.
    is_root: bool,
    /// The binary that instances run from, relative to the home.
    exe: String,
    cgroups: cgroup::Cgroups,
    /// Set once an overlay was refused, so that it is not tried again for every instance.
    no_overlay: AtomicBool,
    /// What this node watches. The lock guards the map only, never a conversation.
    live: Mutex<BTreeMap<String, Arc<Live>>>,
}

/// An instance that this node watches.
struct Live {
    pid: u32,
    /// Readable once every process of the instance is gone.
    pidfd: AsyncFd<OwnedFd>,
    stored: StoredInstance,
    folder: InstanceFolder,
}

impl Live {
    fn new(
        pid: u32,
        pidfd: OwnedFd,
        stored: StoredInstance,
        folder: InstanceFolder,
    ) -> io::Result<Self> {
        let pidfd = watch_fd(pidfd, Interest::READABLE)?;
        Ok(Self {
            pid,
            pidfd,
            stored,
            folder,
        })
    }

    /// Waits until all is gone, and collects the zombie if it is ours. Readiness is never
    /// cleared, so every later call returns at once.
    async fn gone(&self) -> io::Result<()> {
        let _ready = self.pidfd.readable().await?;
        // By pidfd, not by pid: a recycled pid could be another child of this node.
        match waitid(
            WaitId::PidFd(self.pidfd.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn kill(&self) {
        // Fails only if it is gone already.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
    }

    fn instance(&self, id: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            endpoint: self.stored.endpoint(id),
            pid: self.pid,
            notes: self.stored.notes.clone(),
        }
    }
}

impl LocalPlatform {
    /// Opens the platform on the node's home, with images from `store`. Call it before threads
    /// start children: it makes this process the parent of orphaned sandboxes.
    pub fn open(
        settings: LocalSettings,
        store: lockgate_image::Store,
    ) -> Result<Self, ServiceError> {
        let images = StoreImages::new(store, settings.home.join("rootfs"));
        Self::open_with(settings, Arc::new(images))
    }

    /// As [`LocalPlatform::open`], with images from anywhere.
    pub fn open_with(
        settings: LocalSettings,
        images: Arc<dyn ImageSource>,
    ) -> Result<Self, ServiceError> {
        let mut settings = settings;
        fs_err::create_dir_all(&settings.home).map_err(ServiceError::io("make the node's home"))?;
        settings.home = fs_err::canonicalize(&settings.home)
            .map_err(ServiceError::io("resolve the node's home"))?;
        let is_root = folder::can_map_range();
        folder::make_home(&settings.home, is_root)
            .map_err(ServiceError::io("prepare the node's home"))?;
        let exe = folder::keep_binary(&settings.home, &settings.exe)
            .map_err(ServiceError::io("keep the binary that sandboxes run from"))?;
        // Otherwise ended sandboxes wait for the machine's pid 1 to be collected.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(io::Error::from)
            .map_err(ServiceError::io("become the parent of orphaned sandboxes"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                images,
                is_root,
                exe,
                cgroups: cgroup::Cgroups::find(is_root),
                no_overlay: AtomicBool::new(settings.root == RootMode::Copy),
                live: Mutex::new(BTreeMap::new()),
                settings,
            }),
        })
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(ServiceError::Io {
                operation: "run blocking work".to_owned(),
                source: io::Error::other(error),
            }),
        }
    }

    /// The instance if this node watches it, or if its folder shows that it runs.
    async fn find(&self, id: &str) -> Result<Option<Arc<Live>>, ServiceError> {
        if let Some(live) = self.inner.live.lock().get(id) {
            return Ok(Some(Arc::clone(live)));
        }
        let Some(folder) = InstanceFolder::of(&self.inner.settings.home, id) else {
            return Ok(None);
        };
        let found = self.blocking(move |_| folder.find()).await?;
        match found {
            Found::Running(running) => Ok(Some(self.watch(id, *running)?)),
            Found::Ended(_) | Found::Missing => Ok(None),
        }
    }

    fn watch(&self, id: &str, running: folder::Running) -> Result<Arc<Live>, ServiceError> {
        let live = Live::new(running.pid, running.pidfd, running.stored, running.folder)
            .map_err(ServiceError::io(format!("watch instance `{id}`")))?;
        let live = Arc::new(live);
        self.inner
            .live
            .lock()
            .insert(id.to_owned(), Arc::clone(&live));
        Ok(live)
    }

    async fn report(&self, id: &str) -> ExitReport {
        let Some(folder) = InstanceFolder::of(&self.inner.settings.home, id) else {
            return ExitReport::killed();
        };
        let report = self.blocking(move |_| Ok(folder.exit_report())).await;
        report.unwrap_or_else(|_| ExitReport::killed())
    }
}

#[async_trait]
impl Platform for LocalPlatform {
    async fn start(&self, spec: InstanceSpec) -> Result<Instance, ServiceError> {
        let id = spec.id.clone();
        let running = self
            .blocking(move |inner| start::start(inner, spec))
            .await?;
        Ok(self.watch(&id, running)?.instance(&id))
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, ServiceError> {
        let found = self
            .blocking(|inner| folder::all(&inner.settings.home))
            .await?;
        let mut adopted = Vec::new();
        for (id, found) in found {
            match found {
                Found::Running(running) => {
                    let live = self.watch(&id, *running)?;
                    adopted.extend(live.stored.spec(&id).map(|spec| Adopted {
                        spec,
                        state: AdoptedState::Running(live.instance(&id)),
                    }));
                }
                Found::Ended(stored) => {
                    let report = self.report(&id).await;
                    adopted.extend(stored.spec(&id).map(|spec| Adopted {
                        spec,
                        state: AdoptedState::Exited(report),
                    }));
                }
                Found::Missing => {}
            }
        }
        Ok(adopted)
    }

    async fn stop(&self, instance: &str, deadline: Duration) -> Result<(), ServiceError> {
        if let Some(live) = self.find(instance).await? {
            let request = Request::Stop {
                signal: live.stored.stop_signal,
                deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            };
            if control::ask(&live.folder, &request).await.is_err() {
                live.kill();
            }
            if tokio::time::timeout(deadline + KILL_GRACE, live.gone())
                .await
                .is_err()
            {
                live.kill();
                let undying = || ServiceError::Undying {
                    instance: instance.to_owned(),
                    after: KILL_GRACE,
                };
                tokio::time::timeout(KILL_GRACE, live.gone())
                    .await
                    .map_err(|_| undying())?
                    .map_err(ServiceError::io(format!("wait for instance `{instance}`")))?;
            }
            self.inner.live.lock().remove(instance);
        }
        let Some(folder) = InstanceFolder::of(&self.inner.settings.home, instance) else {
            return Ok(());
        };
        self.blocking(move |_| folder.remove()).await
    }

    async fn exit(&self, instance: &str) -> ExitReport {
        if let Ok(Some(live)) = self.find(instance).await {
            // An error here means that the runtime is shutting down; the folder still tells.
            let _ = live.gone().await;
        }
        self.report(instance).await
    }

    async fn probe(
        &self,
        instance: &str,
        probe: &HealthProbe,
        timeout: Duration,
    ) -> Result<(), String> {
        let live = self
            .find(instance)
            .await
            .map_err(|error| error.to_string())?;
        let live = live.ok_or_else(|| format!("instance `{instance}` does not run"))?;
        probe::probe(&self.inner, &live, probe, timeout).await
    }

    async fn logs(&self, instance: &str, from: LogFrom) -> Result<LogChunk, ServiceError> {
        let folder = InstanceFolder::of(&self.inner.settings.home, instance)
            .filter(InstanceFolder::exists)
            .ok_or_else(|| ServiceError::NoInstance(instance.to_owned()))?;
        let name = instance.to_owned();
        self.blocking(move |_| {
            logs::read(&folder.out(), from)
                .map_err(ServiceError::io(format!("read the log of `{name}`")))
        })
        .await
    }

    async fn dial(&self, instance: &str, port: u16) -> io::Result<std::net::TcpStream> {
        let live = self.find(instance).await.map_err(io::Error::other)?;
        let live = live.ok_or(io::ErrorKind::NotFound)?;
        control::connect(&live, port).await
    }
}

impl ExitReport {
    pub(crate) fn killed() -> Self {
        Self {
            cause: crate::platform::ExitCause::Killed,
            at: None,
            out_of_memory: false,
            port_taken: false,
        }
    }
}

/// Registers a descriptor with the runtime.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types that close what they show; an OwnedFd does not"
)]
fn watch_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// Wall time of a millisecond count.
fn timestamp_of_ms(ms: i64) -> Timestamp {
    Timestamp(ms.saturating_mul(1_000_000))
}
