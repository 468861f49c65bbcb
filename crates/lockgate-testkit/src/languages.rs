//! Packages of Python and Node.js programs for tests: installed once by `lockgate install` into
//! the target folder, in pinned versions, and linked into each world.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::world::World;

/// A language with the packages that examples and tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python and a virtual environment.
    Python,
    /// Python with an SDK of 2023: it asks for each feature and does not say when it is done.
    OldPython,
    /// Node.js and `node_modules`.
    Nodejs,
    /// The newest SDK for Node.js, and the interpreter that it needs.
    Nodejs22,
}

/// What is particular to a language.
struct Facts {
    name: &'static str,
    runtime: &'static str,
    list: &'static str,
    packages: &'static str,
    folder: &'static str,
}

impl Language {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Python, Self::OldPython, Self::Nodejs, Self::Nodejs22];

    const fn facts(self) -> Facts {
        match self {
            Self::Python => Facts {
                name: "python",
                runtime: "python",
                list: "requirements.txt",
                packages: include_str!("languages/requirements.txt"),
                folder: "venv",
            },
            Self::OldPython => Facts {
                name: "python-2023",
                runtime: "python",
                list: "requirements.txt",
                packages: include_str!("languages/requirements-2023.txt"),
                folder: "venv",
            },
            Self::Nodejs => Facts {
                name: "nodejs",
                runtime: "nodejs",
                list: "package.json",
                packages: include_str!("languages/package.json"),
                folder: "node_modules",
            },
            Self::Nodejs22 => Facts {
                name: "nodejs-22",
                runtime: "nodejs",
                list: "package.json",
                packages: include_str!("languages/package-22.json"),
                folder: "node_modules",
            },
        }
    }

    /// The pinned SDK, as `pulumi 3.272.0`.
    pub fn sdk_version(self) -> Option<String> {
        let mut lines = self.facts().packages.lines();
        lines.find_map(|line| {
            let line = line.trim().trim_end_matches(',').replace('"', "");
            let (name, version) = line.split_once("==").or_else(|| line.split_once(": "))?;
            matches!(name, "pulumi" | "@pulumi/pulumi").then(|| format!("{name} {version}"))
        })
    }
}

/// The installed packages of a language: a virtual environment or a `node_modules` folder.
/// Installs them when they are missing or other versions are pinned now.
pub fn packages(exe: &Path, language: Language) -> Result<PathBuf> {
    let facts = language.facts();
    // The binary lies in `target/<profile>/`.
    let target = exe.ancestors().nth(2).context("the target folder")?;
    let folder = target.join("languages").join(facts.name);
    fs_err::create_dir_all(&folder)?;
    // Tests run in several processes; one of them installs, the others wait.
    let lock = fs_err::File::create(folder.join("lock"))?;
    lock.file().lock().context("lock the packages for tests")?;
    let stamp = folder.join("installed");
    if fs_err::read_to_string(&stamp).is_ok_and(|text| text == facts.packages) {
        return Ok(folder.join(facts.folder));
    }
    fs_err::write(folder.join(facts.list), facts.packages)?;
    let project = format!("name: packages\nruntime: {}\n", facts.runtime);
    fs_err::write(folder.join("Pulumi.yaml"), project)?;
    let status = Command::new(exe)
        .arg("install")
        .current_dir(&folder)
        .env("LOCKGATE_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .status()
        .context("start `lockgate install`")?;
    ensure!(status.success(), "`lockgate install` failed: {status}");
    fs_err::write(&stamp, facts.packages)?;
    Ok(folder.join(facts.folder))
}

/// Links the packages of `language` into the project of a world, and brings its interpreter if
/// it is one of them.
pub fn link(exe: &Path, world: &mut World, language: Language) -> Result<()> {
    let packages = packages(exe, language)?;
    if language == Language::Nodejs22 {
        let folders = fs_err::read_dir(&packages)?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut nodes = folders.map(|folder| folder.join("bin/node"));
        let node = nodes.find(|node| node.is_file()).context("no `bin/node`")?;
        let bin = node.parent().context("a file has a folder")?;
        let path = std::env::var_os("PATH").context("no PATH")?;
        world.set_env(
            "PATH",
            &format!("{}:{}", bin.display(), path.to_string_lossy()),
        );
    }
    symlink(packages, world.project().join(language.facts().folder))?;
    Ok(())
}
