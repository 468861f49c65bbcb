//! Builds with RUN: a real Docker Engine, its base from a real registry.

use std::path::Path;
use std::sync::Arc;

use lockgate_image::gate::{GatePolicy, evaluate};
use lockgate_image::{
    BuildError, BuildRequest, Builder, Engine, Image, ImageRecord, OsArch, Registries,
    RegistryResolver, Silent,
};
use lockgate_model::{Clock as _, ImageReference};
use lockgate_testkit::docker::Docker;
use lockgate_testkit::registry::Registry;

use crate::registry::registries;
use crate::support::{Bench, Frozen};

/// A bench with an engine and a base image in a registry.
struct Works {
    bench: Bench,
    builder: Builder,
    base: ImageReference,
    client: Registries,
    _registry: Registry,
    _docker: Docker,
}

impl Works {
    /// `None` where no engine can be started.
    async fn open() -> Option<Self> {
        let docker = Docker::start().unwrap()?;
        let (bench, registry) = (Bench::new(), Registry::start().unwrap());
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.iter().find(|path| Path::new(path).is_file());
        let busybox = busybox.expect("busybox: sudo apt-get install -y busybox-static");
        let program = bench.file("bin/busybox", fs_err::read(busybox).unwrap());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&program, mode).unwrap();
        for name in ["sh", "cat", "echo", "mkdir", "chmod", "rm"] {
            let link = bench.context().join("bin").join(name);
            fs_err::os::unix::fs::symlink("busybox", link).unwrap();
        }
        let built = bench.build("FROM scratch\nCOPY bin /bin\nENV A=base").await;
        let digest = built.unwrap().digest;
        let client = registries(None, None);
        let base = format!("{}/base:1", registry.address());
        let base = ImageReference::parse(&base).unwrap();
        client.push(&bench.store, &digest, &base).await.unwrap();
        fs_err::remove_dir_all(bench.context().join("bin")).unwrap();
        let builder = Builder::new(
            bench.store.clone(),
            bench.folder.path().join("cache"),
            Arc::new(RegistryResolver::new(client.clone())),
            Arc::new(Frozen),
        );
        Some(Self {
            builder: builder.with_engine(Engine::new(docker.socket())),
            bench,
            base,
            client,
            _registry: registry,
            _docker: docker,
        })
    }

    async fn build(&self, request: &BuildRequest) -> Result<ImageRecord, BuildError> {
        let plan = self.builder.plan(request).await?;
        self.builder.build(&plan, &Silent).await
    }

    fn request(&self, rest: &str) -> BuildRequest {
        BuildRequest {
            // The engine of these tests has no bridge.
            offline: true,
            ..self.bench.request(&format!("FROM {}\n{rest}", self.base))
        }
    }

    fn image(&self, record: &ImageRecord) -> Image {
        self.bench.store.image(&record.digest).unwrap()
    }
}

#[tokio::test]
async fn a_step_runs_in_the_engine_and_the_image_is_ours() {
    let Some(works) = Works::open().await else {
        return;
    };
    works.bench.file("src/in.txt", "hello");
    works.bench.file("unrelated.txt", "x");
    let request = BuildRequest {
        build_args: [("WHO".to_owned(), "world".to_owned())].into(),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        ..works.request(
            "ARG WHO\nCOPY src /src\nRUN mkdir /out && echo \"$(cat /src/in.txt) $WHO\" > /out/file\n\
             FROM scratch\nCOPY --from=0 /out /\nCMD [\"/file\"]",
        )
    };
    let built = works.build(&request).await.unwrap();
    let tree = works.bench.tree(&built);
    assert_eq!(tree["file"], "644 hello world\n");
    let image = works.image(&built);
    assert_eq!(image.config.config.cmd, Some(vec!["/file".to_owned()]));
    assert_eq!(image.config.config.labels["team"], "shop");
    let policy = GatePolicy {
        secrets: true,
        max_size_bytes: Some(1_000_000),
        non_root: false,
        by_digest: true,
    };
    let now = Frozen.now();
    let report = evaluate(&works.bench.store, &built.digest, &policy, &[], now);
    assert!(report.passed, "{report:?}");

    // The digest is known before the next build, until something that is copied changes.
    let again = works.builder.plan(&request).await.unwrap();
    assert_eq!(again.known.map(|known| known.digest), Some(built.digest));
    works.bench.file("unrelated.txt", "y");
    assert!(works.builder.plan(&request).await.unwrap().known.is_some());
    works.bench.file("src/in.txt", "other");
    let changed = works.builder.plan(&request).await.unwrap();
    assert!(changed.known.is_none());
    assert_eq!(changed.changes.paths, ["in.txt"]);
    let edited = BuildRequest {
        build_args: [("WHO".to_owned(), "moon".to_owned())].into(),
        ..request
    };
    let edited = works.builder.plan(&edited).await.unwrap();
    assert_ne!(
        edited.key, changed.key,
        "an argument of a step is not in the key"
    );
}

#[tokio::test]
async fn layers_of_the_base_stay_the_registrys_and_secrets_stay_out() {
    let Some(works) = Works::open().await else {
        return;
    };
    let request = BuildRequest {
        secret_args: [("TOKEN".to_owned(), "canary-7".to_owned().into())].into(),
        ..works.request(
            "RUN --mount=type=secret,id=TOKEN x=$(cat /run/secrets/TOKEN) && test ${#x} = 8 && echo ok > /ok",
        )
    };
    let built = works.build(&request).await.unwrap();
    assert_eq!(works.bench.tree(&built)["ok"], "644 ok\n");
    let plain = works.request("");
    let base = works.builder.plan(&plain).await.unwrap();
    let base = works.builder.build(&base, &Silent).await.unwrap();
    let (ours, below) = (works.image(&built), works.image(&base));
    assert_eq!(ours.manifest.layers[0], below.manifest.layers[0]);
    assert_eq!(ours.manifest.layers.len(), 2);
    let config = serde_json::to_string(&ours.config).unwrap();
    assert!(!config.contains("canary"), "{config}");
    let mut left = fs_err::read_dir(works.bench.store.root().join("tmp")).unwrap();
    assert!(
        left.next().is_none(),
        "a file with a secret was left behind"
    );

    let printed = BuildRequest {
        dockerfile: works
            .request("RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN; exit 1")
            .dockerfile,
        ..request.clone()
    };
    let failed = works.build(&printed).await.unwrap_err();
    assert_eq!(failed.diagnostics()[0].causes, ["[secret]"]);

    let declared = BuildRequest {
        dockerfile: works.request("ARG TOKEN\nRUN echo $TOKEN").dockerfile,
        ..request
    };
    let refused = works.build(&declared).await.unwrap_err();
    let [diagnostic] = &refused.diagnostics()[..] else {
        panic!("{refused:?}");
    };
    assert_eq!(diagnostic.code.to_string(), "LG0311");
}

#[tokio::test]
async fn a_tag_that_moves_after_the_plan_changes_nothing() {
    let Some(works) = Works::open().await else {
        return;
    };
    let request = works.request("RUN echo ok > /ok");
    let plan = works.builder.plan(&request).await.unwrap();
    // The tag now names an image in which nothing can run.
    works.bench.file("empty", "");
    let empty = works
        .bench
        .build("FROM scratch\nCOPY empty /")
        .await
        .unwrap();
    let store = &works.bench.store;
    let moved = works.client.push(store, &empty.digest, &works.base).await;
    moved.unwrap();
    let built = works.builder.build(&plan, &Silent).await.unwrap();
    assert_eq!(works.bench.tree(&built)["ok"], "644 ok\n");
}

#[tokio::test]
async fn a_failing_step_is_named_and_an_engine_that_is_gone_too() {
    let Some(works) = Works::open().await else {
        return;
    };
    let failed = works
        .build(&works.request("RUN echo first; echo the reason; exit 7"))
        .await;
    let [diagnostic] = &failed.unwrap_err().diagnostics()[..] else {
        panic!("not one diagnostic");
    };
    assert_eq!(diagnostic.code.to_string(), "LG0318");
    assert!(
        diagnostic.message.contains("exit 7"),
        "{}",
        diagnostic.message
    );
    assert!(
        diagnostic.message.contains("code: 7"),
        "{}",
        diagnostic.message
    );

    assert_eq!(diagnostic.causes, ["first", "the reason"]);

    let other = BuildRequest {
        platform: OsArch::linux("s390x"),
        ..works.bench.request("FROM scratch\nRUN x")
    };
    let refused = works.build(&other).await.unwrap_err().to_string();
    assert!(
        refused.contains("the image is for linux/s390x"),
        "{refused}"
    );

    let nobody = works.bench.folder.path().join("no.sock");
    drop(std::os::unix::net::UnixListener::bind(&nobody).unwrap());
    let builder = works.builder.with_engine(Engine::new(nobody.clone()));
    let plan = builder.plan(&works.request("RUN true")).await.unwrap();
    let absent = builder.build(&plan, &Silent).await.unwrap_err();
    assert!(
        absent
            .to_string()
            .starts_with("no Docker Engine answers at"),
        "{absent}"
    );
    fs_err::remove_file(&nobody).unwrap();
    let none = builder.plan(&works.request("RUN true")).await.unwrap_err();
    assert!(matches!(none, BuildError::NeedsEngine { .. }), "{none:?}");
}
