//! Into a registry: blobs first, then the manifest by its exact bytes.

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use lockgate_model::{Digest, ImageReference};
use tokio::io::AsyncReadExt as _;

use super::transport::{
    self, Body, Call, TRIES_MAX, full, header_text, nothing, refused, resolve_location,
};
use super::{PARALLEL, Registries, RegistryError, Repository, origins};
use crate::oci::{self, Descriptor};
use crate::store::{Store, StoreError};

/// Bytes of a blob read at once.
const PIECE_BYTES: usize = 128 * 1024;

impl Registries {
    /// Pushes an image or index of the store to the repository of `target`: under its tag if it
    /// has one, else by digest alone. Blobs that are there already are not sent, and those known
    /// to be in another repository of the same registry are mounted from it.
    ///
    /// On success the registry holds exactly these bytes: it confirmed their digest, or took them
    /// under that name.
    pub async fn push(
        &self,
        store: &Store,
        digest: &Digest,
        target: &ImageReference,
    ) -> Result<(), RegistryError> {
        let Some(index) = store.index(digest)? else {
            return self.push_image(store, digest, target).await;
        };
        for child in &index.manifests {
            let by_digest = target.with_digest(child.digest);
            self.push_image(store, &child.digest, &by_digest).await?;
        }
        let kind = index.media_type.as_deref().unwrap_or(oci::INDEX);
        self.push_manifest(store, digest, kind, target).await
    }

    async fn push_image(
        &self,
        store: &Store,
        digest: &Digest,
        target: &ImageReference,
    ) -> Result<(), RegistryError> {
        let image = store.image(digest)?;
        let mut blobs: Vec<Descriptor> = image.manifest.layers.clone();
        blobs.push(image.manifest.config.clone());
        blobs.sort_by_key(|blob| blob.digest);
        blobs.dedup_by_key(|blob| blob.digest);
        let work = blobs.into_iter().map(|blob| {
            let (client, repository, store) = (self.clone(), Repository::of(target), store.clone());
            Ok(async move { client.push_blob(&repository, &blob, &store).await })
        });
        stream::iter(work)
            .try_buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        let kind = image
            .manifest
            .media_type
            .as_deref()
            .unwrap_or(oci::MANIFEST);
        self.push_manifest(store, digest, kind, target).await
    }

    async fn push_manifest(
        &self,
        store: &Store,
        digest: &Digest,
        media_type: &str,
        target: &ImageReference,
    ) -> Result<(), RegistryError> {
        let bytes = Bytes::from(store.read_blob(digest)?);
        let repository = Repository::of(target);
        let name = target.tag.clone().unwrap_or_else(|| digest.to_string());
        let scopes = [repository.push_scope()];
        let body = || full(bytes.clone());
        let mut call = Call {
            repository: &repository,
            operation: format!("push {target}"),
            method: Method::PUT,
            url: format!("{}/manifests/{name}", repository.base_url()),
            headers: HeaderMap::new(),
            scopes: &scopes,
            body: &body,
            repeat: true,
        };
        let kind = HeaderValue::try_from(media_type).map_err(|_| RegistryError::Answer {
            operation: call.operation.clone(),
            reason: format!("`{media_type}` is no media type"),
        })?;
        call.headers.insert(CONTENT_TYPE, kind);
        let response = self.inner.send(&call).await?;
        if !response.status().is_success() {
            return Err(refused(&call, response).await);
        }
        confirm(&response, digest, &call.operation)
    }

    /// Brings one blob there, from the beginning each time: after a cut, registry 2.8 knows
    /// nothing of the upload any more, and what a part is worth is only known at the end.
    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<(), RegistryError> {
        let mut failed = 0;
        while let Some(upload) = self.start_upload(repository, blob, store).await? {
            let Err(error) = self.send_blob(repository, &upload, blob, store).await else {
                break;
            };
            failed += 1;
            // 404 in the middle: the upload is forgotten, the blob is not.
            let again = error.is_passing() || matches!(error, RegistryError::NotFound(_));
            if !again || failed >= TRIES_MAX {
                return Err(error);
            }
            self.inner.pause(failed, None).await;
        }
        origins::note(store, &blob.digest, repository);
        Ok(())
    }

    /// Asks for the blob, then for a mount, then for an upload; `None` when it is there. Each
    /// call is repeated by itself.
    async fn start_upload(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<Option<Upload>, RegistryError> {
        let base = repository.base_url();
        let scopes = vec![repository.push_scope()];
        let head = Call {
            scopes: &scopes,
            ..call(
                repository,
                blob,
                Method::HEAD,
                format!("{base}/blobs/{}", blob.digest),
            )
        };
        if self.inner.send(&head).await?.status().is_success() {
            return Ok(None);
        }
        let neighbour = origins::find(store, &blob.digest)
            .filter(|o| o.registry == repository.registry && o.path != repository.path);
        if let Some(origin) = neighbour {
            let scopes = vec![repository.push_scope(), origin.pull_scope()];
            let url = format!(
                "{base}/blobs/uploads/?mount={}&from={}",
                blob.digest, origin.path
            );
            let mount = Call {
                scopes: &scopes,
                ..call(repository, blob, Method::POST, url)
            };
            match self.inner.send(&mount).await {
                Ok(response) if response.status() == StatusCode::CREATED => return Ok(None),
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    let url = location(&mount, &response)?;
                    return Ok(Some(Upload { url, scopes }));
                }
                // Not allowed to read there: the plain way is still open.
                Ok(_) | Err(RegistryError::Denied { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let url = format!("{base}/blobs/uploads/");
        let start = Call {
            scopes: &scopes,
            ..call(repository, blob, Method::POST, url)
        };
        let response = self.inner.send(&start).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refused(&start, response).await);
        }
        let url = location(&start, &response)?;
        Ok(Some(Upload { url, scopes }))
    }

    /// PATCH with all bytes, then PUT with the digest, each at the latest location.
    async fn send_blob(
        &self,
        repository: &Repository,
        upload: &Upload,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<(), RegistryError> {
        let path = store.blob_path(&blob.digest);
        if !store.has(&blob.digest) {
            return Err(StoreError::Missing(blob.digest).into());
        }
        let body = || file_body(path.clone(), blob.size);
        let mut patch = Call {
            scopes: &upload.scopes,
            body: &body,
            // The upload has moved on when a piece arrived; the caller starts anew.
            repeat: false,
            ..call(repository, blob, Method::PATCH, upload.url.clone())
        };
        let octets = HeaderValue::from_static("application/octet-stream");
        patch.headers.insert(CONTENT_TYPE, octets.clone());
        patch.headers.insert(CONTENT_LENGTH, blob.size.into());
        let response = self.inner.send(&patch).await?;
        if !response.status().is_success() {
            return Err(refused(&patch, response).await);
        }
        let url = location(&patch, &response)?;
        let joint = if url.contains('?') { '&' } else { '?' };
        let mut put = Call {
            method: Method::PUT,
            url: format!("{url}{joint}digest={}", blob.digest),
            headers: HeaderMap::new(),
            body: &nothing,
            ..patch
        };
        put.headers.insert(CONTENT_TYPE, octets);
        let response = self.inner.send(&put).await?;
        if response.status() != StatusCode::CREATED {
            return Err(refused(&put, response).await);
        }
        confirm(&response, &blob.digest, &put.operation)
    }
}

/// An upload that was begun, and what its token must allow.
struct Upload {
    url: String,
    scopes: Vec<String>,
}

fn call<'a>(
    repository: &'a Repository,
    blob: &Descriptor,
    method: Method,
    url: String,
) -> Call<'a> {
    Call {
        repository,
        operation: format!(
            "push blob {} to {}/{}",
            blob.digest, repository.registry, repository.path
        ),
        method,
        url,
        headers: HeaderMap::new(),
        scopes: &[],
        body: &nothing,
        repeat: true,
    }
}

fn location(call: &Call<'_>, response: &Response<Incoming>) -> Result<String, RegistryError> {
    header_text(response.headers(), LOCATION.as_str())
        .and_then(|text| resolve_location(&call.url, text))
        .ok_or_else(|| RegistryError::Answer {
            operation: call.operation.clone(),
            reason: "the answer does not say where to go on".to_owned(),
        })
}

/// Compares what the registry says it stored.
fn confirm(
    response: &Response<Incoming>,
    digest: &Digest,
    operation: &str,
) -> Result<(), RegistryError> {
    let told = header_text(response.headers(), "docker-content-digest");
    match told.and_then(|text| Digest::parse(text).ok()) {
        Some(found) if found != *digest => Err(RegistryError::Digest {
            subject: format!("what the registry stored ({operation})"),
            expected: *digest,
            found,
        }),
        _ => Ok(()),
    }
}

/// The bytes of a blob file, read piece by piece.
fn file_body(path: std::path::PathBuf, size: u64) -> Body {
    let pieces = stream::try_unfold(None, move |file: Option<fs_err::tokio::File>| {
        let path = path.clone();
        async move {
            let mut file = match file {
                Some(file) => file,
                None => fs_err::tokio::File::open(path).await?,
            };
            let mut piece = vec![0; PIECE_BYTES];
            let n = file.read(&mut piece).await?;
            piece.truncate(n);
            Ok::<_, std::io::Error>((n > 0).then(|| (Frame::data(Bytes::from(piece)), Some(file))))
        }
    });
    transport::Measured::new(StreamBody::new(pieces).boxed_unsync(), size).boxed_unsync()
}
