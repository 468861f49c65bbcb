//! Measures builds of a 100,000-file context: cold, unchanged, one file changed.
//!
//! `cargo run --release -p lockgate-image --example context_bench [files]`. Numbers are wall
//! time and peak memory of this process; the files are made in a temporary folder first.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate_image::{
    BuildRequest, Builder, Context, DockerfileSource, OsArch, Silent, Store, StoreOnly,
};
use lockgate_model::{Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The system's clocks.
struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        Timestamp(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        Duration::new(
            now.tv_sec.unsigned_abs(),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        )
    }
}

/// `count` files of about 2 KB in folders of 100.
fn make_context(root: &Path, count: usize) -> std::io::Result<()> {
    for index in 0..count {
        let folder = root.join(format!(
            "src/{:02}/{:03}",
            index / 10_000,
            index / 100 % 100
        ));
        if index % 100 == 0 {
            fs_err::create_dir_all(&folder)?;
        }
        let line = format!(
            "line {index} of generated source {}\n",
            index.wrapping_mul(2_654_435_761) % 1_000_003
        );
        fs_err::write(folder.join(format!("file{index}.txt")), line.repeat(55))?;
    }
    Ok(())
}

/// Processor time of this process: what remains comparable on a busy machine.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

fn peak_memory() -> String {
    fs_err::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            text.lines()
                .find(|l| l.starts_with("VmHWM"))
                .map(str::to_owned)
        })
        .unwrap_or_default()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a bench reports on stdout")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let context = folder.path().join("context");
    make_context(&context, count)?;
    let clock: Arc<dyn Clock> = Arc::new(System);
    let store = Store::open(&folder.path().join("store"))?;
    let builder = Builder::new(
        store,
        folder.path().join("cache"),
        Arc::new(StoreOnly),
        Arc::clone(&clock),
    );
    let request = BuildRequest {
        dockerfile: DockerfileSource::Inline {
            name: "Dockerfile".to_owned(),
            text: "FROM scratch\nCOPY src /src\n".to_owned(),
        },
        ..BuildRequest::new(
            "bench",
            Context::Folder(context.clone()),
            OsArch::linux("amd64"),
        )
    };
    let mut cases = vec![
        ("cold", false),
        ("settle", false),
        ("unchanged", false),
        ("unchanged", false),
        ("one file changed", true),
    ];
    cases.extend([("one file changed", true), ("unchanged", false)]);
    for (name, edit) in cases {
        if edit {
            let stamp = clock.monotonic().as_nanos();
            fs_err::write(
                context.join("src/00/000/file7.txt"),
                format!("edited {stamp}"),
            )?;
        }
        let (start, cpu_start) = (clock.monotonic(), cpu());
        let plan = builder.plan(&request).await?;
        let planned = clock.monotonic() - start;
        let known = plan.known.is_some();
        builder.build(&plan, &Silent).await?;
        let total = clock.monotonic() - start;
        let cpu = cpu() - cpu_start;
        println!(
            "{name:<18} plan {planned:>8.3?}  total {total:>8.3?}  cpu {cpu:>8.3?}  known {known}  {}",
            peak_memory()
        );
    }
    Ok(())
}
