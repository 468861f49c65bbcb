//! Node.js: JavaScript and TypeScript, started through the start file of the SDK itself.

use std::path::{Path, PathBuf};

use lockgate_diag::Diagnostic;
use lockgate_model::Value;

use super::{INSTALL_HINT, Install, Place, RuntimeOptions, Start, missing, nearest, option};
use crate::process::Launch;

const CONFIG_FILE: &str = include_str!("../launch/config.cjs");
const PACKAGE_FILE: &str = "package.json";
const SDK: &str = "node_modules/@pulumi/pulumi";

/// The SDK of a project, and how its programs are to be run.
#[derive(Clone, Debug)]
pub(crate) struct Nodejs {
    sdk: PathBuf,
    typescript: bool,
    tsconfig: Option<String>,
    node_args: Vec<String>,
    pub(super) signals_end: bool,
}

pub(super) fn find(place: &Place, options: &RuntimeOptions) -> Result<Nodejs, Box<Diagnostic>> {
    let sdk = place.folder.ancestors().map(|folder| folder.join(SDK));
    let Some(sdk) = sdk.into_iter().find(|sdk| sdk.join(PACKAGE_FILE).exists()) else {
        let text = format!(
            "`{}` has no package `@pulumi/pulumi`",
            place.folder.display()
        );
        return Err(Box::new(missing(text).hint(INSTALL_HINT)));
    };
    let stubs = fs_err::read_to_string(sdk.join("proto/resource_grpc_pb.js"));
    Ok(Nodejs {
        typescript: options.get("typescript").and_then(Value::as_bool) != Some(false),
        tsconfig: option(options, "tsconfig").map(str::to_owned),
        node_args: option(options, "nodeargs")
            .map(|args| args.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        signals_end: stubs.is_ok_and(|text| text.contains("SignalAndWaitForShutdown")),
        sdk,
    })
}

impl Nodejs {
    pub(super) fn launch(&self, start: &Start<'_>) -> std::io::Result<Launch> {
        let config = start.bring("config.cjs", CONFIG_FILE)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let address = start.address.to_string();
        let deployment = start.deployment;
        let mut args = self.node_args.clone();
        args.extend(["--require".to_owned(), text(&config)]);
        args.push(text(&self.sdk.join("cmd/run")));
        for (name, value) in [
            ("--monitor", &address),
            ("--engine", &address),
            ("--organization", &deployment.organization),
            ("--project", &deployment.project),
            ("--root-directory", &text(&start.place.root)),
            ("--stack", &deployment.stack),
            ("--pwd", &text(&start.place.folder)),
            ("--parallel", &deployment.parallel.to_string()),
        ] {
            args.extend([name.to_owned(), value.clone()]);
        }
        if start.preview {
            args.push("--dry-run".to_owned());
        }
        args.push(start.place.entry.clone());
        let mut env = start.env.to_vec();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        if self.typescript {
            set("PULUMI_NODEJS_TYPESCRIPT", "true");
            // Checking types takes longer than the rest of a small run; editors and `tsc` do it.
            set("PULUMI_NODEJS_TRANSPILE_ONLY", "true");
        }
        if let Some(tsconfig) = &self.tsconfig {
            set("PULUMI_NODEJS_TSCONFIG_PATH", tsconfig);
        }
        Ok(Launch {
            program: "node".into(),
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
    let Some(folder) = nearest(&place.folder, &place.root, PACKAGE_FILE) else {
        let text = format!(
            "there is no `{PACKAGE_FILE}` in `{}`",
            place.folder.display()
        );
        return Err(Box::new(
            missing(text).hint("run `npm init --yes` and `npm install @pulumi/pulumi`"),
        ));
    };
    let argv: &[&str] = match option(options, "packagemanager").unwrap_or("npm") {
        "npm" => &["npm", "install", "--no-audit", "--no-fund"],
        "yarn" => &["yarn", "install"],
        "pnpm" => &["pnpm", "install"],
        other => {
            return Err(Box::new(
                missing(format!("there is no Node.js package manager `{other}`"))
                    .hint("set `runtime.options.packagemanager` to `npm`, `yarn` or `pnpm`"),
            ));
        }
    };
    Ok(vec![Install {
        argv: argv.iter().map(|part| (*part).to_owned()).collect(),
        folder,
    }])
}
