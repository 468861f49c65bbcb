//! Dockerfile → steps and configuration, or diagnostics: one pair of files per case in
//! `tests/golden/dockerfile`. `UPDATE_GOLDEN=1` rewrites the outputs; read them before a commit.

use std::fmt::Write as _;
use std::path::Path;

use lockgate_diag::Renderer;
use lockgate_image::BuildError;

use crate::support::Bench;

/// The context that all cases build from.
fn context() -> Bench {
    let bench = Bench::new();
    bench.file("app", "app");
    bench.file("src/a.txt", "a");
    bench.file("src/b.md", "b");
    bench.file("secret.pem", "x");
    bench.file(".dockerignore", "*.pem\n");
    bench
}

async fn outcome(text: &str) -> String {
    let bench = context();
    let mut request = bench.request(text);
    request.build_args = [("VERSION".to_owned(), "7".to_owned())].into();
    request.secret_args = [("KEY".to_owned(), "hidden-value".to_owned().into())].into();
    let mut out = String::new();
    let record = match bench.builder.plan(&request).await {
        Ok(plan) => {
            for warning in &plan.warnings {
                out.push_str(&Renderer::default().render(warning));
            }
            bench.builder.build(&plan, &lockgate_image::Silent).await
        }
        Err(e) => Err(e),
    };
    match record {
        Ok(record) => {
            let image = bench.store.image(&record.digest).unwrap();
            for entry in &image.config.history {
                let kind = if entry.empty_layer {
                    "config"
                } else {
                    "layer "
                };
                writeln!(out, "{kind} {}", entry.created_by.as_deref().unwrap_or("")).unwrap();
            }
            writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&image.config.config).unwrap()
            )
            .unwrap();
            for (path, what) in bench.tree(&record) {
                writeln!(out, "{path}: {}", what.trim_end()).unwrap();
            }
        }
        Err(error) => {
            if matches!(error, BuildError::NeedsEngine { .. }) {
                out.push_str("needs an engine\n");
            }
            for diagnostic in error.diagnostics() {
                out.push_str(&Renderer::default().render(&diagnostic));
            }
        }
    }
    assert!(
        !out.contains("hidden-value"),
        "a secret argument was printed"
    );
    out
}

#[tokio::test]
async fn dockerfiles_give_the_recorded_steps_or_diagnostics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dockerfile");
    let mut cases: Vec<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "in"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 8, "the cases are missing");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some() && std::env::var_os("CI").is_none();
    for case in cases {
        let found = outcome(&fs_err::read_to_string(&case).unwrap()).await;
        let expected = case.with_extension("out");
        if update {
            fs_err::write(&expected, &found).unwrap();
        }
        assert_eq!(
            found,
            fs_err::read_to_string(&expected).unwrap_or_default(),
            "{}",
            case.display()
        );
    }
}
