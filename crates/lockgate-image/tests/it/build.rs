//! Builds from scratch: content, configuration, keys.

use crate::support::{Bench, expect};

#[tokio::test]
async fn a_file_is_copied_and_the_configuration_is_complete() {
    let bench = Bench::new();
    bench.file("server", "binary");
    let record = bench
        .build("FROM scratch\nCOPY server /bin/server\nENV PORT=8080 HOST=::\nEXPOSE 8080\nUSER 65532:65532\nENTRYPOINT [\"/bin/server\"]\nCMD [\"--port\", \"8080\"]\n")
        .await
        .unwrap();
    assert_eq!(
        bench.tree(&record),
        expect(&[("bin", "755/"), ("bin/server", "644 binary")])
    );
    let image = bench.store.image(&record.digest).unwrap();
    assert_eq!(
        serde_json::to_string(&image.config.config).unwrap(),
        r#"{"User":"65532:65532","ExposedPorts":{"8080/tcp":{}},"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","PORT=8080","HOST=::"],"Entrypoint":["/bin/server"],"Cmd":["--port","8080"],"WorkingDir":"/"}"#
    );
    let empty: Vec<bool> = image.config.history.iter().map(|h| h.empty_layer).collect();
    assert_eq!(empty, [false, true, true, true, true, true]);
    assert_eq!(image.config.rootfs.diff_ids, record.diff_ids);
}

#[tokio::test]
async fn an_unchanged_build_is_known_and_an_edit_names_the_path() {
    let bench = Bench::new();
    bench.file("a", "1");
    bench.file("b", "1");
    let dockerfile = "FROM scratch\nCOPY . /srv/\n";
    let first = bench.build(dockerfile).await.unwrap();
    let again = bench.plan(dockerfile).await.unwrap();
    assert_eq!(again.known, Some(first.clone()));
    bench.file("b", "2");
    let edited = bench.plan(dockerfile).await.unwrap();
    assert_eq!(edited.known, None);
    assert_eq!(
        (edited.changes.paths.as_slice(), edited.changes.count),
        (&["b".to_owned()][..], 1)
    );
    bench.file("b", "1");
    assert_eq!(bench.plan(dockerfile).await.unwrap().known, Some(first));
}
