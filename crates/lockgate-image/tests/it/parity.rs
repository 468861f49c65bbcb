//! Lockgate's assembler against a real Docker Engine: the same Dockerfiles, the same context, and
//! then the file trees and configurations side by side. What came out is the table in
//! `docs/reference/dockerfile.md`; a cell that changes fails the test.
//!
//! The engine is Debian's `dockerd` with the BuildKit in it, spoken to by the client of the same
//! package, which sends the context and applies the ignore file as users see it. Both results are
//! unpacked by GNU tar, which knows neither of the two.

mod cases;
mod context;
mod image;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lockgate_image::{BuildRequest, Context, DockerfileSource, OsArch};
use lockgate_testkit::docker::Docker;

use self::cases::{Case, Group};
use self::image::{Built, Outcome};
use crate::support::Bench;

/// Builds that run in the engine at once.
const AT_ONCE: usize = 4;
/// What `FROM` may name beside `scratch`, built by each side for itself.
const BASES: [(&str, &str); 3] = [
    ("BASE", "FROM scratch\nADD base.tar /\n"),
    (
        "FULL",
        "FROM scratch\nCOPY a.txt /\nENV A=1 B=2\nLABEL l=1 m=2\nEXPOSE 80\nVOLUME /v\nUSER 5:6\nWORKDIR /w\n\
         ENTRYPOINT [\"/e\"]\nCMD [\"c\"]\nSHELL [\"/bin/ash\", \"-c\"]\nSTOPSIGNAL SIGINT\nHEALTHCHECK CMD true\n",
    ),
    (
        "TRIGGERS",
        "FROM scratch\nCOPY b.txt /\nONBUILD COPY a.txt /on/\nONBUILD ENV A=1\nONBUILD WORKDIR /on/w\n",
    ),
];
const BEGIN: &str = "<!-- begin: written by the test `parity` -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn dockerfiles_give_what_an_engine_makes_of_them() {
    let Some(docker) = Docker::start().unwrap() else {
        return;
    };
    // Tens of thousands of small files: in memory where there is a place for it.
    let memory = Path::new("/dev/shm");
    let bench = match memory.is_dir() {
        true => Bench::below(memory),
        false => Bench::new(),
    };
    let work = bench.folder.path().join("parity");
    fs_err::create_dir(&work).unwrap();
    context::write(&bench.context());
    for worker in 0..AT_ONCE {
        context::copy(&bench.context(), &engine_context(&work, worker));
    }
    let groups = cases::read();
    let all: Vec<&Case> = groups.iter().flat_map(|group| &group.cases).collect();

    let engine = Engine::new(&docker, work.clone());
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| engine.build_all(&all));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ours = runtime.block_on(async {
            let mut ours = Vec::new();
            let bases = Ours::bases(&bench).await;
            for (number, case) in all.iter().enumerate() {
                let folder = work.join(format!("ours-{number}"));
                ours.push(bases.build(case, &folder).await);
            }
            ours
        });
        (ours, theirs.join().unwrap())
    });
    let mut results = ours.iter().zip(&theirs);
    let table = render(&groups, &mut results);
    check(&table);
}

/// The engine's side.
struct Engine<'a> {
    docker: &'a Docker,
    work: PathBuf,
}

/// A context for each build that runs at a time: the engine keeps what it was sent by the name of
/// the folder, and two builds of one name get in each other's way.
fn engine_context(work: &Path, worker: usize) -> PathBuf {
    work.join(format!("contexts/{worker}/context"))
}

impl<'a> Engine<'a> {
    fn new(docker: &'a Docker, work: PathBuf) -> Self {
        let engine = Self { docker, work };
        for (name, text) in BASES {
            let tag = name.to_lowercase();
            let id = engine.build(&Case::plain(text), &tag, 0).unwrap();
            let tagged = docker.client().args(["tag", &id, &tag]).status().unwrap();
            assert!(tagged.success());
        }
        engine
    }

    /// The image's ID, or what the engine said.
    fn build(&self, case: &Case, name: &str, worker: usize) -> Result<String, String> {
        let text = BASES.iter().fold(case.text.clone(), |text, (base, _)| {
            text.replace(base, &base.to_lowercase())
        });
        let file = write_case(&self.work, name, &text, case);
        let mut command = self.docker.client();
        command.args(["build", "-q", "-f"]).arg(file);
        for (name, value) in &case.args {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        if let Some(target) = &case.target {
            command.args(["--target", target]);
        }
        let output = command
            .arg(case.context(&engine_context(&self.work, worker)))
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn build_all(&self, cases: &[&Case]) -> Vec<Outcome> {
        let ids = at_once(cases, |i, case| {
            self.build(case, &i.to_string(), i % AT_ONCE)
        });
        let built = ids.iter().filter_map(|id| id.as_deref().ok());
        let saved = image::save(self.docker, built, &self.work.join("saved"));
        at_once(&ids, |i, id| match id {
            Ok(id) => {
                let root = self.work.join(format!("root-{i}"));
                Outcome::Built(Built::of_saved(&saved, id, &root))
            }
            Err(text) => {
                let lost = text.contains("Cannot connect") || text.contains("buildx");
                assert!(!lost, "the engine did not build at all: {text}");
                Outcome::Refused(text.clone())
            }
        })
    }
}

/// `work` for every item, on a few threads, in order of the items.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = |first: usize| {
            let mine = items.iter().enumerate().skip(first).step_by(AT_ONCE);
            mine.map(|(i, item)| (i, work(i, item))).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|first| scope.spawn(move || worker(first)))
            .collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap());
        ended.flatten().collect()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Lockgate's side, with its own bases.
struct Ours<'a> {
    bench: &'a Bench,
    bases: Vec<(&'static str, String)>,
}

impl<'a> Ours<'a> {
    async fn bases(bench: &'a Bench) -> Self {
        let mut bases = Vec::new();
        for (name, text) in BASES {
            let built = bench.build(text).await.unwrap();
            bases.push((name, format!("lockgate.local/base@{}", built.digest)));
        }
        Self { bench, bases }
    }

    async fn build(&self, case: &Case, folder: &Path) -> Outcome {
        fs_err::create_dir(folder).unwrap();
        let text = self
            .bases
            .iter()
            .fold(case.text.clone(), |text, (name, image)| {
                text.replace(name, image)
            });
        let request = BuildRequest {
            dockerfile: DockerfileSource::Path(write_case(folder, "case", &text, case)),
            build_args: case.args.iter().cloned().collect(),
            target: case.target.clone(),
            ..BuildRequest::new(
                "parity",
                Context::Folder(case.context(&self.bench.context())),
                OsArch::linux("amd64"),
            )
        };
        let builder = &self.bench.builder;
        let built = match builder.plan(&request).await {
            Ok(plan) => builder.build(&plan, &lockgate_image::Silent).await,
            Err(error) => Err(error),
        };
        match built {
            Ok(record) => {
                let root = folder.join("root");
                Outcome::Built(Built::of_store(&self.bench.store, &record.digest, &root))
            }
            Err(error) => {
                let diagnostics = error.diagnostics();
                let shown = diagnostics
                    .iter()
                    .map(|d| format!("{}: {}", d.code, d.message));
                Outcome::Refused(shown.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// Writes Dockerfile and ignore file, both outside of the context.
fn write_case(folder: &Path, name: &str, text: &str, case: &Case) -> PathBuf {
    let file = folder.join(format!("{name}.Dockerfile"));
    fs_err::write(&file, text).unwrap();
    let ignore = folder.join(format!("{name}.Dockerfile.dockerignore"));
    fs_err::write(ignore, case.ignore.join("\n")).unwrap();
    file
}

/// The tables, and an assertion that every difference has its reason.
fn render<'a>(
    groups: &[Group],
    results: &mut dyn Iterator<Item = (&'a Outcome, &'a Outcome)>,
) -> String {
    let mut out = String::new();
    let mut missing = Vec::new();
    for group in groups {
        let _ = write!(
            out,
            "\n## {}\n\n| what | Dockerfile | result |\n|---|---|---|\n",
            group.title
        );
        for case in &group.cases {
            let (ours, theirs) = results.next().unwrap();
            let differs = image::differences(ours, theirs);
            let result = match (&differs, &case.note) {
                (None, _) => image::agreement(ours).to_owned(),
                (Some(found), note) => {
                    if note.is_none() {
                        missing.push(format!(
                            "{}: {found}\n    {}",
                            case.title,
                            image::reason(ours, theirs)
                        ));
                    }
                    format!(
                        "**differs**: {found}. {}.",
                        note.as_deref().unwrap_or("NO REASON GIVEN")
                    )
                }
            };
            let _ = writeln!(
                out,
                "| {} | {} | {result} |",
                cell(&case.title),
                case.shown()
            );
        }
    }
    assert!(
        missing.is_empty() || std::env::var_os("UPDATE_GOLDEN").is_some(),
        "differences without a reason:\n{}",
        missing.join("\n")
    );
    for line in &missing {
        say(&format!("no reason: {line}"));
    }
    out
}

fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Compares with the part of the page between the marks, or writes it.
fn check(table: &str) {
    let page = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/dockerfile.md"
    ));
    let text = fs_err::read_to_string(&page).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("the page has a begin mark");
    let (found, tail) = rest.split_once(END).expect("the page has an end mark");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&page, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    let changed: Vec<String> = table
        .lines()
        .filter(|line| !found.lines().any(|known| known == *line))
        .map(|line| format!("now: {line}"))
        .chain(
            found
                .lines()
                .filter(|known| !table.lines().any(|line| line == *known))
                .map(|line| format!("was: {line}")),
        )
        .collect();
    assert!(
        changed.is_empty(),
        "the table changed (UPDATE_GOLDEN=1 rewrites it):\n{}",
        changed.join("\n")
    );
}
