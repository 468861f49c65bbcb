//! From a Dockerfile over the store to a program that runs.

use std::sync::Arc;
use std::time::Duration;

use lockgate_image::build::{BuildRequest, Builder, DockerfileSource, Silent};
use lockgate_image::{Context, ContextFile, FileContent};
use lockgate_image::{OsArch, Store, StoreOnly};
use lockgate_model::Digest;
use lockgate_service::{ExitCause, LocalPlatform, LogFrom, Platform as _, ServiceError};

use crate::lab::{exe, images};
use crate::support::{SystemClock, settings, spec};

const DOCKERFILE: &str = "FROM scratch\n\
    COPY probe /bin/probe\n\
    COPY passwd /etc/passwd\n\
    ENV FROM_DOCKERFILE=yes\n\
    WORKDIR /srv\n\
    USER web\n\
    ENTRYPOINT [\"/bin/probe\"]\n\
    CMD [\"report\"]\n";

#[tokio::test]
async fn an_image_of_the_store_runs_as_its_dockerfile_says() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("images")).unwrap();
    let file = |path: &str, content, executable| ContextFile {
        path: path.to_owned(),
        content,
        executable,
    };
    let passwd: Arc<[u8]> = b"web:x:33:34::/srv:\n".as_slice().into();
    let context = Context::Files(vec![
        file("probe", FileContent::Path(images().join("probe")), true),
        file("passwd", FileContent::Bytes(passwd), false),
    ]);
    let mut request = BuildRequest::new("probe", context, OsArch::linux(std::env::consts::ARCH));
    request.dockerfile = DockerfileSource::Inline {
        name: "Dockerfile".to_owned(),
        text: DOCKERFILE.to_owned(),
    };
    let cache = home.path().join("cache");
    let builder = Builder::new(
        store.clone(),
        cache,
        Arc::new(StoreOnly),
        Arc::new(SystemClock),
    );
    let plan = builder.plan(&request).await.unwrap();
    let record = builder.build(&plan, &Silent).await.unwrap();

    let platform = LocalPlatform::open(settings(home.path(), &exe()), store).unwrap();
    for id in ["first", "second"] {
        let mut spec = spec(id, &[]);
        spec.service.image = spec.service.image.with_digest(record.digest);
        platform.start(spec).await.unwrap();
        assert_eq!(platform.exit(id).await.cause, ExitCause::Code(0));
        let lines = platform.logs(id, LogFrom::Last(1000)).await.unwrap().lines;
        for line in [
            "ids 33 34 pid 2",
            "cwd /srv",
            "env FROM_DOCKERFILE=yes",
            "env HOME=/srv",
        ] {
            assert!(
                lines.iter().any(|seen| seen.text == line),
                "{line}: {lines:?}"
            );
        }
        platform.stop(id, Duration::ZERO).await.unwrap();
    }
    let mut absent = spec("absent", &[]);
    absent.service.image = absent.service.image.with_digest(Digest::of(b"absent"));
    let error = platform.start(absent).await.unwrap_err();
    assert!(matches!(error, ServiceError::Image { .. }), "{error:?}");
}
