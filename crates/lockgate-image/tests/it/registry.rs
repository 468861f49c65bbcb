//! Registries: a real `docker-registry`, alone and behind a proxy that breaks calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_image::oci::{Descriptor, INDEX, Index, MANIFEST};
use lockgate_image::{
    BaseResolver, BuildError, Builder, OsArch, Registries, RegistryError, RegistryResolver,
    RegistrySettings, Silent, Store,
};
use lockgate_model::{Digest, ImageReference, Rng};
use lockgate_testkit::proxy::{Fault, Proxy};
use lockgate_testkit::registry::{PASSWORD, Registry, USER};

use crate::support::{Bench, Frozen};

/// The same "random" number always.
struct Fixed;

impl Rng for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0x5a);
    }
}

pub(crate) fn registries(docker_config: Option<PathBuf>, path: Option<String>) -> Registries {
    let settings = RegistrySettings {
        docker_config,
        helper_env: path.map(|p| ("PATH".to_owned(), p)).into_iter().collect(),
        retry_pause: Duration::from_millis(1),
    };
    Registries::new(settings, Arc::new(Frozen), Arc::new(Fixed))
}

fn reference(address: &str, rest: &str) -> ImageReference {
    ImageReference::parse(&format!("{address}/{rest}")).unwrap()
}

fn amd64() -> OsArch {
    OsArch::linux("amd64")
}

/// Another machine: an empty store.
fn fresh_store(bench: &Bench, name: &str) -> Store {
    Store::open(&bench.folder.path().join(name)).unwrap()
}

/// An image whose one layer is not compressible, so that there is something to cut.
async fn image(bench: &Bench) -> Digest {
    let mut bytes = Vec::new();
    for i in 0..20_000_u32 {
        bytes.extend_from_slice(blake(i).as_slice());
    }
    bench.file("data", bytes);
    let record = bench.build("FROM scratch\nCOPY data /data\nENV A=1").await;
    record.unwrap().digest
}

fn blake(i: u32) -> Vec<u8> {
    Digest::of(&i.to_le_bytes()).as_bytes().to_vec()
}

fn layer_of(store: &Store, digest: &Digest) -> Descriptor {
    store.image(digest).unwrap().manifest.layers[0].clone()
}

async fn pull(
    client: &Registries,
    image: &ImageReference,
    store: &Store,
) -> Result<Digest, String> {
    let resolver = RegistryResolver::new(client.clone());
    let digest = resolver.resolve(image, &amd64(), store).await;
    let digest = digest.map_err(|e| e.to_string())?;
    let fetched = resolver.fetch_layers(image, &digest, store).await;
    fetched.map_err(|e| e.to_string()).map(|()| digest)
}

/// A registry with an image as `base:1`.
struct Pushed {
    bench: Bench,
    registry: Registry,
    client: Registries,
    digest: Digest,
}

async fn pushed() -> Pushed {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let digest = image(&bench).await;
    let client = registries(None, None);
    let target = reference(registry.address(), "base:1");
    client.push(&bench.store, &digest, &target).await.unwrap();
    Pushed {
        bench,
        registry,
        client,
        digest,
    }
}

#[tokio::test]
async fn what_is_pushed_comes_back_and_is_a_base() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let digest = image(&bench).await;
    let client = registries(None, None);
    let target = reference(registry.address(), "shop/base:1.0");
    client.push(&bench.store, &digest, &target).await.unwrap();
    assert_eq!(client.resolve(&target).await.unwrap(), digest);
    assert_eq!(client.tags(&target).await.unwrap(), ["1.0"]);

    let store = fresh_store(&bench, "other");
    let resolver = Arc::new(RegistryResolver::new(client));
    let builder = Builder::new(
        store.clone(),
        bench.folder.path().join("cache-other"),
        resolver,
        Arc::new(Frozen),
    );
    let request = bench.request(&format!("FROM {target}\nCOPY data /copy"));
    let plan = builder.plan(&request).await.unwrap();
    let layer = layer_of(&store, &digest);
    assert!(!store.has(&layer.digest), "a plan fetched a layer");
    let built = builder.build(&plan, &Silent).await.unwrap();
    let layers = store.image(&built.digest).unwrap().manifest.layers;
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[0], layer);
    assert!(store.has(&layer.digest));
}

#[tokio::test]
async fn a_cut_pull_goes_on_where_it_was_cut() {
    let Pushed {
        bench,
        registry,
        client,
        digest,
    } = pushed().await;
    let proxy = Proxy::start(registry.address()).unwrap();
    let layer = layer_of(&bench.store, &digest).digest.to_string();
    proxy.break_next(2, "GET", &layer, Fault::CutAnswer(150_000));
    let store = fresh_store(&bench, "other");
    let source = reference(proxy.address(), "base:1");
    assert_eq!(pull(&client, &source, &store).await.unwrap(), digest);
    let ranges: Vec<Option<String>> = proxy
        .seen()
        .iter()
        .filter(|call| call.method == "GET" && call.path.contains(&layer))
        .map(|call| call.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0], None);
    let start = |range: &Option<String>| -> u64 {
        let text = range.as_deref().unwrap();
        text["bytes=".len()..text.len() - 1].parse().unwrap()
    };
    assert!(start(&ranges[1]) > 0);
    assert!(start(&ranges[2]) > start(&ranges[1]));
}

#[tokio::test]
async fn a_cut_push_starts_the_blob_again() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let digest = image(&bench).await;
    let proxy = Proxy::start(registry.address()).unwrap();
    proxy.break_next(2, "PATCH", "/blobs/uploads/", Fault::CutRequest(1000));
    let client = registries(None, None);
    let target = reference(proxy.address(), "base:1");
    client.push(&bench.store, &digest, &target).await.unwrap();
    let store = fresh_store(&bench, "other");
    let source = reference(registry.address(), "base:1");
    assert_eq!(pull(&client, &source, &store).await.unwrap(), digest);
}

#[tokio::test]
async fn calls_are_repeated_when_the_registry_says_later_and_not_when_it_says_no() {
    let Pushed {
        registry,
        client,
        digest,
        ..
    } = pushed().await;
    let proxy = Proxy::start(registry.address()).unwrap();
    let later = Fault::Answer(429, vec![("retry-after", "0".to_owned())]);
    proxy.break_next(2, "HEAD", "/manifests/", later);
    proxy.break_next(1, "HEAD", "/manifests/", Fault::Answer(503, Vec::new()));
    let source = reference(proxy.address(), "base:1");
    assert_eq!(client.resolve(&source).await.unwrap(), digest);
    assert_eq!(proxy.count("HEAD", "/manifests/1"), 4);
    proxy.break_next(1, "HEAD", "/manifests/", Fault::Answer(403, Vec::new()));
    let refused = client.resolve(&source).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Denied { .. }), "{refused}");
    assert_eq!(proxy.count("HEAD", "/manifests/1"), 5);
    // Endless failure ends.
    proxy.break_next(99, "HEAD", "/manifests/", Fault::Answer(503, Vec::new()));
    let failed = client.resolve(&source).await.unwrap_err();
    assert!(matches!(failed, RegistryError::Status { status: 503, .. }));
    assert_eq!(proxy.count("HEAD", "/manifests/1"), 10);
}

#[tokio::test]
async fn a_neighbour_repository_is_mounted_from_and_an_upload_is_the_way_out() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let digest = image(&bench).await;
    let proxy = Proxy::start(registry.address()).unwrap();
    let client = registries(None, None);
    let push = async |name: &str| {
        let target = reference(proxy.address(), name);
        client.push(&bench.store, &digest, &target).await.unwrap();
        proxy.count("PATCH", "/v2/")
    };
    assert_eq!(push("first:1").await, 2);
    assert_eq!(push("first:2").await, 2, "known blobs were sent again");
    assert_eq!(push("second:1").await, 2, "blobs were sent, not mounted");
    proxy.break_next(1, "POST", "mount=", Fault::Answer(403, Vec::new()));
    assert_eq!(push("third:1").await, 3);
    let store = fresh_store(&bench, "other");
    let source = reference(registry.address(), "third:1");
    assert_eq!(pull(&client, &source, &store).await.unwrap(), digest);
}

#[tokio::test]
async fn credentials_come_from_the_file_or_a_program_and_never_show() {
    let (bench, registry) = (Bench::new(), Registry::start_private().unwrap());
    let digest = image(&bench).await;
    let target = reference(registry.address(), "private/base:1");
    let folder = bench.folder.path();
    let write = |name: &str, text: &str| {
        fs_err::write(folder.join(name), text).unwrap();
        Some(folder.join(name))
    };
    let anonymous = registries(None, None);
    let refused = anonymous.push(&bench.store, &digest, &target).await;
    assert!(matches!(refused, Err(RegistryError::Denied { .. })));

    let auths = |password: &str| {
        let pair = data_encoding(&format!("{USER}:{password}"));
        format!(
            r#"{{"auths": {{"{}": {{"auth": "{pair}"}}}}}}"#,
            registry.address()
        )
    };
    let wrong = registries(write("wrong.json", &auths("canary-wrong")), None);
    let refused = wrong
        .push(&bench.store, &digest, &target)
        .await
        .unwrap_err();
    assert!(matches!(refused, RegistryError::Denied { .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("canary"));

    let right = registries(write("right.json", &auths(PASSWORD)), None);
    right.push(&bench.store, &digest, &target).await.unwrap();

    let script = format!(
        "#!/bin/sh\nread server\ntest \"$1 $server\" = 'get {}' || exit 1\n\
         echo '{{\"ServerURL\": \"x\", \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'\n",
        registry.address()
    );
    let program = write("docker-credential-test", &script).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let helper = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, registry.address());
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let helped = registries(write("helper.json", &helper), Some(path));
    assert_eq!(helped.resolve(&target).await.unwrap(), digest);
    let broken = registries(write("broken.json", r#"{"auths": "canary"}"#), None);
    let failed = broken.resolve(&target).await.unwrap_err();
    assert!(matches!(failed, RegistryError::Credentials { .. }));
    assert!(!failed.to_string().contains("canary"));
}

fn data_encoding(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_stays_at_its_registry() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let digest = image(&bench).await;
    let proxy = Proxy::start(registry.address()).unwrap();
    proxy.want_token(USER, PASSWORD);
    let pair = data_encoding(&format!("{USER}:{PASSWORD}"));
    let config = bench.folder.path().join("config.json");
    let text = format!(
        r#"{{"auths": {{"http://{}": {{"auth": "{pair}"}}}}}}"#,
        proxy.address()
    );
    fs_err::write(&config, text).unwrap();
    let client = registries(Some(config), None);
    let target = reference(proxy.address(), "base:1");
    client.push(&bench.store, &digest, &target).await.unwrap();
    // At once, so several calls may ask; later ones must not.
    let tokens = proxy.count("GET", "/token");
    assert!((1..=2).contains(&tokens), "{tokens} tokens");
    let elsewhere = Proxy::start(registry.address()).unwrap();
    let layer = layer_of(&bench.store, &digest).digest;
    let place = format!("http://{}/v2/base/blobs/{layer}", elsewhere.address());
    let moved = Fault::Answer(307, vec![("location", place)]);
    proxy.break_next(1, "GET", &layer.to_string(), moved);
    let store = fresh_store(&bench, "other");
    assert_eq!(pull(&client, &target, &store).await.unwrap(), digest);
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn content_with_another_digest_is_refused_and_not_kept() {
    let Pushed {
        bench,
        registry,
        client,
        digest,
    } = pushed().await;
    let layer = layer_of(&bench.store, &digest);
    let forged = vec![b'x'; usize::try_from(layer.size).unwrap()];
    for (path, body) in [
        (format!("/blobs/{}", layer.digest), forged),
        (format!("/blobs/{}", layer.digest), vec![b'x'; 1_000_000]),
        (
            format!("/manifests/{digest}"),
            br#"{"schemaVersion": 2}"#.to_vec(),
        ),
    ] {
        let proxy = Proxy::start(registry.address()).unwrap();
        proxy.break_next(1, "GET", &path, Fault::Body(body));
        let store = fresh_store(&bench, "other");
        let source = reference(proxy.address(), "base:1");
        let failed = pull(&client, &source, &store).await.unwrap_err();
        let told = failed.contains("expected sha256:") || failed.contains("bytes announced");
        assert!(told, "{failed}");
        assert!(!store.has(&layer.digest));
        // Nothing was spoilt: the next try succeeds.
        assert_eq!(pull(&client, &source, &store).await.unwrap(), digest);
        fs_err::remove_dir_all(store.root()).unwrap();
    }
}

#[tokio::test]
async fn a_registry_that_tells_no_digest_is_hashed() {
    let Pushed {
        registry,
        client,
        digest,
        ..
    } = pushed().await;
    let proxy = Proxy::start(registry.address()).unwrap();
    let silent = Fault::WithoutHeader("docker-content-digest");
    proxy.break_next(2, "HEAD", "/manifests/", silent.clone());
    proxy.break_next(2, "GET", "/manifests/", silent);
    let source = reference(proxy.address(), "base:1");
    assert_eq!(client.resolve(&source).await.unwrap(), digest);
}

#[tokio::test]
async fn an_index_gives_the_manifest_of_the_platform_and_a_moved_tag_changes_nothing() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let first = image(&bench).await;
    let request = lockgate_image::BuildRequest {
        platform: OsArch::linux("arm64"),
        ..bench.request("FROM scratch\nCOPY data /data")
    };
    let plan = bench.builder.plan(&request).await.unwrap();
    let second = bench.builder.build(&plan, &Silent).await.unwrap().digest;
    let entry = |digest: Digest, arch: &str| Descriptor {
        media_type: MANIFEST.to_owned(),
        digest,
        size: bench.store.read_blob(&digest).unwrap().len() as u64,
        platform: Some(OsArch::linux(arch)),
        annotations: Default::default(),
    };
    let index = Index {
        schema_version: 2,
        media_type: Some(INDEX.to_owned()),
        manifests: vec![entry(first, "amd64"), entry(second, "arm64")],
    };
    let text = serde_json::to_vec(&index).unwrap();
    let index = bench.store.write_blob(&text).unwrap().digest;
    let client = registries(None, None);
    let target = reference(registry.address(), "base:1");
    client.push(&bench.store, &index, &target).await.unwrap();

    let resolver = RegistryResolver::new(client.clone());
    let store = fresh_store(&bench, "other");
    let resolve = async |arch: &str| {
        let found = resolver
            .resolve(&target, &OsArch::linux(arch), &store)
            .await;
        found.map_err(|e| e.to_string())
    };
    assert_eq!(resolver.top_digest(&target).await.unwrap(), index);
    assert_eq!(resolve("arm64").await.unwrap(), second);
    client.push(&bench.store, &first, &target).await.unwrap();
    assert_eq!(client.resolve(&target).await.unwrap(), first);
    assert_eq!(
        resolve("arm64").await.unwrap(),
        second,
        "the run saw a tag move"
    );
    let refused = resolve("s390x").await.unwrap_err();
    assert!(
        refused.contains("it offers linux/amd64, linux/arm64, not linux/s390x"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_base_that_does_not_exist_is_told_with_its_place() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let resolver = Arc::new(RegistryResolver::new(registries(None, None)));
    let cache = bench.folder.path().join("cache");
    let builder = Builder::new(bench.store.clone(), cache, resolver, Arc::new(Frozen));
    let missing = reference(registry.address(), "no/such:1");
    let request = bench.request(&format!("# base\nFROM {missing}"));
    let error = builder.plan(&request).await.unwrap_err();
    let BuildError::Invalid { diagnostics } = error else {
        panic!("{error:?}");
    };
    let [diagnostic] = diagnostics.as_slice() else {
        panic!("{diagnostics:?}");
    };
    assert_eq!(diagnostic.code.to_string(), "LG0313");
    let label = &diagnostic.labels[0];
    assert_eq!(label.file.line_column(label.span.start), (2, 6));
    assert_eq!(
        diagnostic.causes,
        [format!("image {missing} does not exist")]
    );
}

#[tokio::test]
async fn nothing_is_sent_without_tls_to_another_machine() {
    let registry = Registry::start().unwrap();
    let proxy = Proxy::start(registry.address()).unwrap();
    let away = Fault::Answer(307, vec![("location", "http://192.0.2.1/x".to_owned())]);
    proxy.break_next(1, "HEAD", "/manifests/", away);
    let source = reference(proxy.address(), "base:1");
    let refused = registries(None, None).resolve(&source).await.unwrap_err();
    assert!(matches!(refused, RegistryError::PlainHttp(host) if host == "192.0.2.1"));
}
