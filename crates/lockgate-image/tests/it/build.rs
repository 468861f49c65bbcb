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

#[tokio::test]
async fn the_digest_depends_on_nothing_but_the_content() {
    use std::os::unix::fs::PermissionsExt as _;
    let dockerfile = "FROM scratch\nCOPY . /srv/\nWORKDIR /data\n";
    let names = ["z", "a/b", "a-b", "a.b", "m/n/o", "run.sh"];
    let mut digests = Vec::new();
    for (reverse, mode) in [(false, 0o644), (true, 0o600)] {
        let bench = Bench::new();
        let mut order = names.to_vec();
        if reverse {
            order.reverse();
        }
        for name in order {
            let path = bench.file(name, name);
            let mode = if name == "run.sh" { mode | 0o100 } else { mode };
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        digests.push(bench.build(dockerfile).await.unwrap().digest);
    }
    assert_eq!(digests[0], digests[1]);
    // Layer format 1 never changes: this digest is for ever.
    assert_eq!(
        digests[0].to_string(),
        "sha256:12ac4bef2b1a8badd85265f5dace17f3bc322397a018c4d93c3619b668b2bf49"
    );
}

#[tokio::test]
async fn a_given_list_of_files_builds_the_same_image_as_the_folder() {
    use lockgate_image::{Context, ContextFile, FileContent, Silent};
    let bench = Bench::new();
    let path = bench.file("bin/app", "program");
    let dockerfile = "FROM scratch\nCOPY bin/app /app\n";
    let folder = bench.build(dockerfile).await.unwrap();
    for content in [
        FileContent::Path(path),
        FileContent::Bytes(b"program".as_slice().into()),
    ] {
        let mut request = bench.request(dockerfile);
        request.context = Context::Files(vec![ContextFile {
            path: "bin/app".to_owned(),
            content,
            executable: false,
        }]);
        let plan = bench.builder.plan(&request).await.unwrap();
        assert_eq!(
            bench.builder.build(&plan, &Silent).await.unwrap().digest,
            folder.digest
        );
    }
}

#[tokio::test]
async fn files_no_instruction_copies_do_not_matter() {
    let bench = Bench::new();
    bench.file("app", "1");
    bench.file("README", "1");
    let key = bench.plan("FROM scratch\nCOPY app /\n").await.unwrap().key;
    bench.file("README", "2");
    assert_eq!(
        bench
            .plan("# comment\nfrom scratch\nCOPY app /\n")
            .await
            .unwrap()
            .key,
        key
    );
    bench.file("app", "2");
    assert_ne!(
        bench.plan("FROM scratch\nCOPY app /\n").await.unwrap().key,
        key
    );
}

#[tokio::test]
async fn only_used_arguments_and_reachable_stages_are_in_the_key() {
    let bench = Bench::new();
    bench.file("app", "1");
    let dockerfile = "ARG V=1\nFROM scratch AS unused\nLABEL x=y\nFROM scratch\nARG V\nARG W=1\nLABEL v=$V\nCOPY app /\n";
    let key = async |v: &str, w: &str, text: &str| {
        let mut request = bench.request(text);
        request.build_args = [
            ("V".to_owned(), v.to_owned()),
            ("W".to_owned(), w.to_owned()),
        ]
        .into();
        bench.builder.plan(&request).await.unwrap().key
    };
    let base = key("1", "1", dockerfile).await;
    assert_eq!(key("1", "2", dockerfile).await, base);
    assert_ne!(key("2", "1", dockerfile).await, base);
    assert_eq!(key("1", "1", &dockerfile.replace("x=y", "x=z")).await, base);
}

#[tokio::test]
async fn a_lost_layer_makes_a_known_key_unknown() {
    let bench = Bench::new();
    bench.file("app", "1");
    let dockerfile = "FROM scratch\nCOPY app /\n";
    let record = bench.build(dockerfile).await.unwrap();
    let layer = bench.store.image(&record.digest).unwrap().manifest.layers[0].digest;
    fs_err::remove_file(bench.store.blob_path(&layer)).unwrap();
    assert_eq!(bench.plan(dockerfile).await.unwrap().known, None);
    assert_eq!(bench.build(dockerfile).await.unwrap(), record);
    assert!(bench.store.has(&layer));
}
