//! Python: a virtual environment with the `pulumi` package, started through our own start file.

use std::path::{Path, PathBuf};

use lockgate_diag::Diagnostic;

use super::{INSTALL_HINT, Install, Place, RuntimeOptions, Start, missing, nearest, option};
use crate::process::Launch;

const START_FILE: &str = include_str!("../launch/program.py");
/// Virtual environments that are found without being named, in this order.
const USUAL_FOLDERS: [&str; 2] = ["venv", ".venv"];
const REQUIREMENTS: &str = "requirements.txt";

/// An interpreter with the SDK.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    interpreter: PathBuf,
    venv: Option<PathBuf>,
    pub(super) signals_end: bool,
}

/// Finds the virtual environment: the named one, else a usual one, else the interpreter on the
/// path with whatever is installed for it.
pub(super) fn find(place: &Place, options: &RuntimeOptions) -> Result<Python, Box<Diagnostic>> {
    let named = option(options, "virtualenv").map(|name| place.root.join(name));
    let usual = || {
        let folders = USUAL_FOLDERS.iter().map(|name| place.root.join(name));
        folders
            .into_iter()
            .find(|folder| interpreter(folder).exists())
    };
    if named.is_none() && option(options, "toolchain") == Some("poetry") {
        return Err(Box::new(
            missing("the toolchain `poetry` keeps its virtual environment elsewhere")
                .hint("add `virtualenv: .venv` to `runtime.options` and run `poetry config virtualenvs.in-project true`"),
        ));
    }
    let Some(venv) = named.or_else(usual) else {
        return Ok(Python {
            interpreter: "python3".into(),
            venv: None,
            signals_end: false,
        });
    };
    if !interpreter(&venv).exists() {
        let text = format!("there is no virtual environment at `{}`", venv.display());
        return Err(Box::new(missing(text).hint(INSTALL_HINT)));
    }
    let Some(sdk) = sdk(&venv) else {
        let text = format!("`{}` has no package `pulumi`", venv.display());
        let hint = format!("add `pulumi>=3,<4` to `{REQUIREMENTS}` and {INSTALL_HINT}");
        return Err(Box::new(missing(text).hint(hint)));
    };
    let stubs = fs_err::read_to_string(sdk.join("runtime/proto/resource_pb2_grpc.py"));
    Ok(Python {
        interpreter: interpreter(&venv),
        venv: Some(venv),
        signals_end: stubs.is_ok_and(|text| text.contains("SignalAndWaitForShutdown")),
    })
}

fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

/// The folder of the SDK in a virtual environment.
fn sdk(venv: &Path) -> Option<PathBuf> {
    let versions = fs_err::read_dir(venv.join("lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("site-packages/pulumi"))
        .find(|sdk| sdk.join("__init__.py").exists())
}

impl Python {
    pub(super) fn launch(&self, start: &Start<'_>) -> std::io::Result<Launch> {
        let file = start.bring("program.py", START_FILE)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let address = start.address.to_string();
        let deployment = start.deployment;
        let mut args = vec!["-u".to_owned(), text(&file)];
        for (name, value) in [
            ("--monitor", &address),
            ("--engine", &address),
            ("--project", &deployment.project),
            ("--root_directory", &text(&start.place.root)),
            ("--stack", &deployment.stack),
            ("--organization", &deployment.organization),
            ("--pwd", &text(&start.place.folder)),
            ("--dry_run", &start.preview.to_string()),
            ("--parallel", &deployment.parallel.to_string()),
        ] {
            args.extend([name.to_owned(), value.clone()]);
        }
        args.push(start.place.entry.clone());
        let mut env = start.env.to_vec();
        if let Some(venv) = &self.venv {
            // Commands that the program runs see the environment as if it were activated.
            env.push(("VIRTUAL_ENV".to_owned(), text(venv)));
            if let Some((_, path)) = env.iter_mut().find(|(name, _)| name == "PATH") {
                *path = format!("{}:{path}", text(&venv.join("bin")));
            }
        }
        Ok(Launch {
            program: self.interpreter.clone(),
            args,
            env,
            folder: start.place.folder.clone(),
            input: start.input(),
        })
    }
}

pub(super) fn install(
    place: &Place,
    options: &RuntimeOptions,
) -> Result<Vec<Install>, Box<Diagnostic>> {
    let step = |argv: &[&str], folder: &Path| Install {
        argv: argv.iter().map(|part| (*part).to_owned()).collect(),
        folder: folder.to_path_buf(),
    };
    match option(options, "toolchain").unwrap_or("pip") {
        "pip" => {}
        "uv" => return Ok(vec![step(&["uv", "sync"], &place.root)]),
        "poetry" => return Ok(vec![step(&["poetry", "install", "--no-root"], &place.root)]),
        other => {
            return Err(Box::new(
                missing(format!("there is no Python toolchain `{other}`"))
                    .hint("set `runtime.options.toolchain` to `pip`, `uv` or `poetry`"),
            ));
        }
    }
    let Some(folder) = nearest(&place.folder, &place.root, REQUIREMENTS) else {
        let text = format!("there is no `{REQUIREMENTS}` in `{}`", place.root.display());
        let hint = format!("write the line `pulumi>=3,<4` to `{REQUIREMENTS}`");
        return Err(Box::new(missing(text).hint(hint)));
    };
    let venv = option(options, "virtualenv").unwrap_or(USUAL_FOLDERS[0]);
    let venv = place.root.join(venv);
    let mut steps = Vec::new();
    if !interpreter(&venv).exists() {
        let venv = venv.to_string_lossy();
        steps.push(step(&["python3", "-m", "venv", &venv], &place.root));
    }
    let python = interpreter(&venv);
    let python = python.to_string_lossy();
    let no_check = "--disable-pip-version-check";
    let argv = [
        &*python,
        "-m",
        "pip",
        "install",
        "--quiet",
        no_check,
        "-r",
        REQUIREMENTS,
    ];
    steps.push(step(&argv, &folder));
    Ok(steps)
}
