//! What tests and their stand-in node share: a clock, an image folder, specs.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockgate_model::service::{HealthCheck, HealthProbe, Rollout, ServiceLimits, ServiceSpec};
use lockgate_model::{Clock, Digest, ImageReference, Rng, ServiceId, Timestamp};
use lockgate_service::{
    IdRange, ImageSource, InstanceSpec, LocalImage, LocalPlatform, LocalSettings, RootMode,
};
use rustix::time::{ClockId, clock_gettime};

/// The machine's time.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        Timestamp(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }

    fn monotonic(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("a clock after boot")
    }
}

/// Differs per platform and process: two with one sequence would pick the same ports at once.
pub(crate) struct ProcessRng(AtomicU64);

impl ProcessRng {
    fn new() -> Self {
        static PLATFORMS: AtomicU64 = AtomicU64::new(1);
        let number = PLATFORMS.fetch_add(1, Ordering::Relaxed);
        Self(AtomicU64::new(
            (u64::from(std::process::id()) << 32) + (number << 16),
        ))
    }
}

impl Rng for ProcessRng {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let step = 0x9e37_79b9_7f4a_7c15;
            let mut x = self.0.fetch_add(step, Ordering::Relaxed);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (x ^ (x >> 31)) as u8;
        }
    }
}

/// Lays out one image: the probe program, and a file of its own.
pub(crate) struct FolderImages {
    home: PathBuf,
    /// Folder with the compiled `probe`.
    images: PathBuf,
}

impl ImageSource for FolderImages {
    fn lay_out(
        &self,
        image: &ImageReference,
        range: Option<IdRange>,
    ) -> Result<LocalImage, Box<dyn std::error::Error + Send + Sync>> {
        let root = self
            .home
            .join("rootfs")
            .join(image.digest.ok_or("no digest")?.hex());
        if !root.exists() {
            let new = self
                .home
                .join(format!("rootfs-{:?}", std::thread::current().id()));
            fs_err::create_dir_all(new.join("etc"))?;
            fs_err::copy(self.images.join("probe"), new.join("probe"))?;
            fs_err::write(new.join("etc/image-file"), "of the image\n")?;
            for path in ["", "etc", "probe", "etc/image-file"] {
                let path = new.join(path);
                fs_err::set_permissions(&path, Permissions::from_mode(0o755))?;
                if let Some(range) = range {
                    chown(&path, Some(range.base), Some(range.base))?;
                }
            }
            // Another thread may have been faster with the same content.
            if fs_err::rename(&new, &root).is_err() {
                fs_err::remove_dir_all(&new)?;
            }
        }
        let tag = image.tag.as_deref().unwrap_or_default();
        let working_dir = if tag == "in-etc" { "/etc" } else { "/work/dir" };
        Ok(LocalImage {
            root,
            entrypoint: vec!["/probe".to_owned()],
            cmd: vec!["serve".to_owned()],
            env: BTreeMap::from([("FROM_IMAGE".to_owned(), "yes".to_owned())]),
            working_dir: working_dir.to_owned(),
            user: tag.strip_prefix("user-").unwrap_or_default().to_owned(),
            ..LocalImage::default()
        })
    }
}

pub(crate) fn settings(home: &Path, exe: &Path) -> LocalSettings {
    LocalSettings {
        home: home.to_owned(),
        exe: exe.to_owned(),
        clock: Arc::new(SystemClock),
        rng: Arc::new(ProcessRng::new()),
        root: RootMode::Auto,
    }
}

pub(crate) fn platform(home: &Path, images: &Path, exe: &Path) -> LocalPlatform {
    platform_with(settings(home, exe), images)
}

pub(crate) fn platform_with(settings: LocalSettings, images: &Path) -> LocalPlatform {
    let source = FolderImages {
        home: fs_err::canonicalize(&settings.home).expect("a home"),
        images: images.to_owned(),
    };
    LocalPlatform::open_with(settings, Arc::new(source)).expect("a platform")
}

/// An instance of the probe image; an empty command means its own.
pub(crate) fn spec(id: &str, command: &[String]) -> InstanceSpec {
    let command = [&["/probe".to_owned()], command].concat();
    InstanceSpec {
        id: id.to_owned(),
        generation: 7,
        service: ServiceSpec {
            id: ServiceId::parse("shop/dev/web").expect("an id"),
            image: ImageReference::parse("lockgate.local/probe")
                .expect("a reference")
                .with_digest(Digest::of(b"probe")),
            replicas: 1,
            fixed_port: None,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            command: (command.len() > 1).then_some(command),
            health: HealthCheck {
                probe: HealthProbe::Tcp,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                fall: 3,
                start_timeout: Duration::from_secs(10),
            },
            limits: ServiceLimits::default(),
            rollout: Rollout {
                drain: Duration::ZERO,
                stop_timeout: Duration::from_secs(1),
            },
            read_only_root: false,
        },
    }
}
