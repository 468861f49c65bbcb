//! Gates on real images.

use lockgate_image::gate::{
    GatePolicy, GateReport, Ignore, Verdict, evaluate, render_json, render_table,
};
use lockgate_model::{Clock as _, Digest, Timestamp};

use crate::support::{Bench, Frozen};

/// A canary put together at run time, so that this file holds no credential.
fn canary() -> String {
    format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8")
}

const ALL: GatePolicy = GatePolicy {
    secrets: true,
    max_size_bytes: Some(1_000_000),
    non_root: true,
    by_digest: true,
};

fn verdicts(report: &GateReport) -> Vec<(&str, Verdict)> {
    report.checks.iter().map(|c| (c.id, c.verdict)).collect()
}

#[tokio::test]
async fn a_clean_image_passes_every_check() {
    let bench = Bench::new();
    bench.file("app", "x");
    let record = bench
        .build("FROM scratch\nCOPY app /\nUSER 65532\n")
        .await
        .unwrap();
    let report = evaluate(&bench.store, &record.digest, &ALL, &[], Frozen.now());
    assert!(report.passed, "{}", render_table(&report));
    assert_eq!(report.checks.len(), 5);
}

#[tokio::test]
async fn a_secret_is_found_wherever_it_ships_and_is_never_printed() {
    let bench = Bench::new();
    let secret = canary();
    // Beyond the first window, and across its border.
    let mut large = vec![b'.'; 1024 * 1024 - 10];
    large.push(b' ');
    large.extend(secret.as_bytes());
    large.extend(vec![b' '; 100_000]);
    bench.file("etc/large", &large);
    bench.file("token", format!("token: {secret}\n"));
    let text = format!(
        "FROM scratch AS a\nCOPY token etc /x/\nENV TOKEN={secret} DB_PASSWORD=tr0ub4dor-3x SAFE_PASSWORD_FILE=/run/secret\nLABEL l={secret}\n"
    );
    let record = bench.build(&text).await.unwrap();
    let report = evaluate(
        &bench.store,
        &record.digest,
        &GatePolicy::default(),
        &[],
        Frozen.now(),
    );
    assert!(!report.passed);
    let places: Vec<&str> = report
        .checks
        .iter()
        .flat_map(|c| &c.findings)
        .map(|f| f.place.split(" (").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "env TOKEN",
            "history 2",
            "history 3",
            "label l",
            "x/large",
            "x/token",
            "env DB_PASSWORD"
        ]
    );
    let shown = format!(
        "{report:?}{}{}",
        render_table(&report),
        render_json(&report)
    );
    assert!(
        !shown.contains(&secret) && !shown.contains("tr0ub4dor"),
        "{shown}"
    );
}

#[tokio::test]
async fn ignores_need_a_reason_and_end() {
    let bench = Bench::new();
    bench.file("token", canary());
    let record = bench.build("FROM scratch\nCOPY token /x/\n").await.unwrap();
    let ignore = |reason: &str, expires: Option<i64>| Ignore {
        rule: "github-token".to_owned(),
        place: Some("x".to_owned()),
        reason: reason.to_owned(),
        expires: expires.map(|s| Timestamp(Frozen.now().0 + s)),
    };
    for (ignore, expected) in [
        (ignore("test data", Some(1)), [Verdict::Pass, Verdict::Pass]),
        (ignore("test data", Some(0)), [Verdict::Fail, Verdict::Fail]),
        (ignore("", Some(1)), [Verdict::Fail, Verdict::Fail]),
        (ignore("test data", None), [Verdict::Fail, Verdict::Fail]),
    ] {
        let policy = GatePolicy {
            by_digest: false,
            ..GatePolicy::default()
        };
        let report = evaluate(
            &bench.store,
            &record.digest,
            &policy,
            std::slice::from_ref(&ignore),
            Frozen.now(),
        );
        assert_eq!(
            verdicts(&report),
            [("ignores", expected[0]), ("secrets", expected[1])],
            "{ignore:?}"
        );
        assert_eq!(report.passed, expected == [Verdict::Pass; 2]);
    }
}

#[tokio::test]
async fn users_and_sizes_are_judged() {
    let bench = Bench::new();
    bench.file("app", "x");
    for (user, passes) in [
        ("", false),
        ("USER 0", false),
        ("USER app", false),
        ("USER 0:5", false),
        ("USER 5:0", true),
    ] {
        let record = bench
            .build(&format!("FROM scratch\nCOPY app /\n{user}\n"))
            .await
            .unwrap();
        let report = evaluate(
            &bench.store,
            &record.digest,
            &GatePolicy {
                max_size_bytes: Some(10),
                ..ALL
            },
            &[],
            Frozen.now(),
        );
        let of = |id: &str| report.checks.iter().find(|c| c.id == id).unwrap().verdict;
        assert_eq!(
            of("user"),
            if passes { Verdict::Pass } else { Verdict::Fail },
            "{user}"
        );
        assert_eq!(of("size"), Verdict::Fail);
    }
}

#[tokio::test]
async fn what_cannot_be_evaluated_fails() {
    let bench = Bench::new();
    let missing = evaluate(
        &bench.store,
        &Digest::of(b"nothing"),
        &ALL,
        &[],
        Frozen.now(),
    );
    assert!(!missing.passed);
    assert!(
        missing.checks[1..]
            .iter()
            .all(|c| c.verdict == Verdict::CannotEvaluate),
        "{missing:?}"
    );
    bench.file("app", "x");
    let record = bench
        .build("FROM scratch\nCOPY app /\nUSER 1\n")
        .await
        .unwrap();
    let layer = bench.store.image(&record.digest).unwrap().manifest.layers[0].digest;
    fs_err::remove_file(bench.store.blob_path(&layer)).unwrap();
    let report = evaluate(&bench.store, &record.digest, &ALL, &[], Frozen.now());
    assert_eq!(
        verdicts(&report)[1..],
        [
            ("digest", Verdict::CannotEvaluate),
            ("size", Verdict::Pass),
            ("user", Verdict::Pass),
            ("secrets", Verdict::CannotEvaluate)
        ]
    );
}
