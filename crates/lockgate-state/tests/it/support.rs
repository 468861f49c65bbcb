//! Clocks, random bytes, resources and child processes for the tests.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lockgate_model::{
    Clock, EntryId, JournalEntry, PropertyMap, ResourceState, Rng, Timestamp, Urn, Value,
};
use lockgate_state::{Backend, Keyring, StackName};

/// Set to the folder of the parent's test in a child process.
pub(crate) const CHILD: &str = "LOCKGATE_STATE_TEST_CHILD";

/// A clock that moves when it is told to. All processes of a test start from the same moment.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Repeatable bytes that do not repeat within a test.
pub(crate) struct TestRng(AtomicU64);

impl TestRng {
    pub(crate) fn new() -> Arc<Self> {
        // Two processes of one test must not make the same nonces.
        Arc::new(Self(AtomicU64::new(u64::from(std::process::id()) << 32)))
    }
}

impl Rng for TestRng {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A folder in memory where there is one: these tests count fsyncs, they need not wait for them.
pub(crate) fn new_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// A backend in a folder with one stack, `shop/dev`.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) backend: Backend,
    pub(crate) stack: StackName,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = new_folder();
        let clock = TestClock::new();
        let backend = open_backend(folder.path(), &clock);
        let stack = StackName::new("shop", "dev").unwrap();
        let secrets = backend.keyring().create_local().unwrap();
        backend.create_stack(&stack, &secrets).unwrap();
        Self {
            folder,
            clock,
            backend,
            stack,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        stack_folder(self.folder.path()).join(file)
    }

    /// A second view of the same folder, as another process would have it.
    pub(crate) fn reopen(&self) -> Backend {
        open_backend(self.folder.path(), &self.clock)
    }

    /// The one journal of the stack.
    pub(crate) fn journal_path(&self) -> PathBuf {
        let entries = fs_err::read_dir(self.path("")).unwrap();
        let mut journals: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("journal-"))
            .collect();
        assert_eq!(journals.len(), 1);
        journals.pop().unwrap()
    }
}

pub(crate) fn stack_folder(root: &Path) -> PathBuf {
    root.join("stacks").join("shop").join("dev")
}

pub(crate) fn open_backend(root: &Path, clock: &Arc<TestClock>) -> Backend {
    let keyring = Keyring::new(root, None, TestRng::new());
    Backend::open(root, Arc::new(keyring), Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

pub(crate) fn urn(name: &str) -> Urn {
    Urn::new("dev", "shop", None, "test:index:Thing", name)
}

/// A resource with one plain and one secret input.
pub(crate) fn thing(name: &str, value: &str) -> ResourceState {
    let properties = PropertyMap::from([
        ("plain".to_owned(), Value::from(name)),
        ("secret".to_owned(), Value::from(value).into_secret()),
    ]);
    ResourceState {
        urn: Some(urn(name)),
        custom: true,
        id: format!("id-{name}"),
        inputs: properties.clone(),
        outputs: properties,
        ..ResourceState::default()
    }
}

/// A finished step that produced `state` as entry `id`.
pub(crate) fn added(id: u64, state: ResourceState) -> JournalEntry {
    JournalEntry::Done {
        step: None,
        remove: Vec::new(),
        add: Some((EntryId(id), Arc::new(state))),
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// The folder given by the parent, in a child process.
pub(crate) fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Another process that runs the child part of a test and talks over its pipes.
pub(crate) struct ChildProcess {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Marks the lines a child says to its parent among those of the test harness.
const SAYS: &str = "child says ";

impl ChildProcess {
    /// Runs `test`, the full path of a test of this program.
    pub(crate) fn start(test: &str, folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended, and leaves it to be collected: a holder may be a zombie.
    pub(crate) fn await_end(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), options).unwrap();
    }

    /// The next thing the child says; `None` when it ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.split_once(SAYS) {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: says a line to the parent.
pub(crate) fn say(line: &str) {
    // One write per line: the thread of a journal speaks too.
    let line = format!("{SAYS}{line}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// In a child: waits for a line of the parent.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
