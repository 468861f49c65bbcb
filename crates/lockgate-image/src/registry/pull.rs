//! Out of a registry: digests of tags, documents, and blobs into the store.

use std::io::Write as _;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream;
use http::header::{ACCEPT, HeaderMap, HeaderValue, RANGE};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use lockgate_model::{Digest, ImageReference};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::transport::{self, ANSWER_LIMIT, Call, TRIES_MAX, header_text, nothing, refused};
use super::{PARALLEL, Registries, RegistryError, Repository, origins};
use crate::oci::{self, Descriptor};
use crate::store::{DOCUMENT_BYTES_MAX, Store, StoreError};

/// Without all four, registry 2.8 answers 404 for what it has.
const ACCEPTED: [&str; 4] = [
    oci::MANIFEST,
    oci::INDEX,
    oci::DOCKER_MANIFEST,
    oci::DOCKER_INDEX,
];
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Pages of tags, and tags, that are read.
const PAGES_MAX: usize = 1000;
const TAGS_MAX: usize = 100_000;
/// Pieces of a blob between the network and the disk; then the network waits.
const PIECES: usize = 16;

/// What a tag is when none is given.
const DEFAULT_TAG: &str = "latest";

impl Registries {
    /// The digest that a reference names now: of an index or of a manifest. One HEAD, if the
    /// registry says the digest; else the document is fetched and hashed.
    pub async fn resolve(&self, image: &ImageReference) -> Result<Digest, RegistryError> {
        if let Some(digest) = image.digest {
            return Ok(digest);
        }
        let repository = Repository::of(image);
        let tag = image.tag.as_deref().unwrap_or(DEFAULT_TAG);
        let response = self
            .manifest_call(&repository, tag, Method::HEAD, format!("find {image}"))
            .await?;
        let digest = header_text(response.headers(), CONTENT_DIGEST);
        match digest.and_then(|text| Digest::parse(text).ok()) {
            Some(digest) => Ok(digest),
            None => Ok(Digest::of(&self.document(image).await?)),
        }
    }

    /// All tags of a repository.
    pub async fn tags(&self, image: &ImageReference) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let repository = Repository::of(image);
        let operation = format!(
            "list the tags of {}/{}",
            repository.registry, repository.path
        );
        let wrong = |reason: &str| RegistryError::Answer {
            operation: operation.clone(),
            reason: reason.to_owned(),
        };
        let mut url = format!("{}/tags/list?n=1000", repository.base_url());
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = get(&repository, &operation, Method::GET, url.clone());
            let scopes = [repository.pull_scope()];
            let call = Call {
                scopes: &scopes,
                ..call
            };
            let response = self.inner.send(&call).await?;
            if !response.status().is_success() {
                return Err(refused(&call, response).await);
            }
            let next = header_text(response.headers(), "link").and_then(next_page);
            let next = next.map(|link| transport::resolve_location(&url, &link));
            let text = transport::read(response, DOCUMENT_BYTES_MAX as usize, &operation).await?;
            let page: Page =
                serde_json::from_slice(&text).map_err(|_| wrong("the answer is no list"))?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > TAGS_MAX {
                return Err(wrong("there are more than 100,000 tags"));
            }
            match next {
                None => return Ok(tags),
                Some(link) => url = link.ok_or_else(|| wrong("the next page has no URL"))?,
            }
        }
        Err(wrong("there are more than 1,000 pages of tags"))
    }

    /// The manifest or index that a reference names, its digest checked where one is known.
    pub(super) async fn document(&self, image: &ImageReference) -> Result<Bytes, RegistryError> {
        let repository = Repository::of(image);
        let name = match (&image.digest, &image.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        };
        let operation = format!("fetch {image}");
        let response = self
            .manifest_call(&repository, &name, Method::GET, operation.clone())
            .await?;
        let told = header_text(response.headers(), CONTENT_DIGEST)
            .and_then(|text| Digest::parse(text).ok());
        let bytes = transport::read(response, DOCUMENT_BYTES_MAX as usize, &operation).await?;
        let found = Digest::of(&bytes);
        match image.digest.or(told) {
            Some(expected) if expected != found => Err(RegistryError::Digest {
                subject: format!("{image} as the registry sent it"),
                expected,
                found,
            }),
            _ => Ok(bytes),
        }
    }

    async fn manifest_call(
        &self,
        repository: &Repository,
        name: &str,
        method: Method,
        operation: String,
    ) -> Result<Response<Incoming>, RegistryError> {
        let url = format!("{}/manifests/{name}", repository.base_url());
        let scopes = [repository.pull_scope()];
        let mut call = get(repository, &operation, method, url);
        call.scopes = &scopes;
        for accepted in ACCEPTED {
            call.headers
                .append(ACCEPT, HeaderValue::from_static(accepted));
        }
        let response = self.inner.send(&call).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => {
                let subject = operation.split_once(' ').map_or("", |(_, subject)| subject);
                Err(RegistryError::NotFound(format!("image {subject}")))
            }
            _ => Err(refused(&call, response).await),
        }
    }

    /// Fetches the document of `digest` into the store unless it is there.
    pub(super) async fn pull_document(
        &self,
        image: &ImageReference,
        digest: &Digest,
        store: &Store,
    ) -> Result<(), RegistryError> {
        if !store.has(digest) {
            let bytes = self.document(&image.with_digest(*digest)).await?;
            store.write_blob(&bytes)?;
        }
        Ok(())
    }

    /// Fetches blobs into the store, several at once, those that are there left out.
    pub(super) async fn pull_blobs(
        &self,
        image: &ImageReference,
        blobs: &[Descriptor],
        store: &Store,
    ) -> Result<(), RegistryError> {
        let mut missing: Vec<Descriptor> = blobs
            .iter()
            .filter(|blob| !store.has(&blob.digest))
            .cloned()
            .collect();
        // An image may have one layer twice.
        missing.sort_by_key(|blob| blob.digest);
        missing.dedup_by_key(|blob| blob.digest);
        let work = missing.into_iter().map(|blob| {
            let (client, repository, store) = (self.clone(), Repository::of(image), store.clone());
            Ok(async move { client.pull_blob(&repository, &blob, &store).await })
        });
        stream::iter(work)
            .try_buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await
            .map(drop)
    }

    /// Fetches one blob. After a cut it goes on where it was cut, if the registry can.
    async fn pull_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<(), RegistryError> {
        let operation = format!(
            "fetch blob {} of {}/{}",
            blob.digest, repository.registry, repository.path
        );
        if ["foreign", "nondistributable"]
            .iter()
            .any(|word| blob.media_type.contains(word))
        {
            return Err(RegistryError::Answer {
                operation,
                reason: "it is a foreign layer, which its registry does not hold".to_owned(),
            });
        }
        let mut sink = Sink::open(store, blob);
        let mut failed = 0;
        loop {
            let (body, skip) = self
                .open_blob(repository, blob, &operation, sink.received)
                .await?;
            let Err(error) = receive(body, skip, blob, &operation, &mut sink).await else {
                sink.finish().await?;
                origins::note(store, &blob.digest, repository);
                return Ok(());
            };
            failed += 1;
            if !error.is_passing() || failed >= TRIES_MAX {
                return Err(error);
            }
            self.inner.pause(failed, None).await;
        }
    }

    /// Asks for the blob from byte `received` on; gives the body and how much of its start is
    /// here already.
    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        operation: &str,
        received: u64,
    ) -> Result<(Incoming, u64), RegistryError> {
        let url = format!("{}/blobs/{}", repository.base_url(), blob.digest);
        let scopes = [repository.pull_scope()];
        let mut call = get(repository, operation, Method::GET, url);
        call.scopes = &scopes;
        if received > 0 {
            let range = HeaderValue::try_from(format!("bytes={received}-"));
            call.headers.extend(range.ok().map(|value| (RANGE, value)));
        }
        let response = self.inner.send(&call).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok((response.into_body(), 0)),
            // A registry that does not know ranges starts over.
            StatusCode::OK => Ok((response.into_body(), received)),
            _ => Err(refused(&call, response).await),
        }
    }
}

/// Moves a body into the sink, its first `skip` bytes left out.
async fn receive(
    mut body: Incoming,
    mut skip: u64,
    blob: &Descriptor,
    operation: &str,
    sink: &mut Sink,
) -> Result<(), RegistryError> {
    loop {
        let frame = tokio::time::timeout(ANSWER_LIMIT, body.frame()).await;
        let frame = frame.map_err(|_| RegistryError::Timeout {
            operation: operation.to_owned(),
            limit: ANSWER_LIMIT,
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| RegistryError::Connection {
            operation: operation.to_owned(),
            source: e.into(),
        })?;
        let Ok(mut piece) = frame.into_data() else {
            continue;
        };
        let skipped = skip.min(piece.len() as u64);
        skip -= skipped;
        let piece = piece.split_off(usize::try_from(skipped).unwrap_or(piece.len()));
        sink.write(piece, operation).await?;
    }
    if sink.received < blob.size {
        return Err(RegistryError::Connection {
            operation: operation.to_owned(),
            source: format!("it ended after {} of {} bytes", sink.received, blob.size).into(),
        });
    }
    Ok(())
}

fn get<'a>(repository: &'a Repository, operation: &str, method: Method, url: String) -> Call<'a> {
    Call {
        repository,
        operation: operation.to_owned(),
        method,
        url,
        headers: HeaderMap::new(),
        scopes: &[],
        body: &nothing,
        repeat: true,
    }
}

/// The URL of `Link: <url>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| url.to_owned())
}

/// A blob on its way to the disk: hashed and written on the pool for blocking calls.
struct Sink {
    pieces: mpsc::Sender<Bytes>,
    written: JoinHandle<Result<(), StoreError>>,
    received: u64,
    size: u64,
}

impl Sink {
    fn open(store: &Store, blob: &Descriptor) -> Self {
        let (pieces, mut receive) = mpsc::channel::<Bytes>(PIECES);
        let (store, digest) = (store.clone(), blob.digest);
        // Ends when the sender is gone; a blob that is not whole then has another digest.
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = store.writer()?;
            while let Some(piece) = receive.blocking_recv() {
                writer.write_all(&piece)?;
            }
            writer.finish_as(&digest).map(drop)
        });
        Self {
            pieces,
            written,
            received: 0,
            size: blob.size,
        }
    }

    async fn write(&mut self, piece: Bytes, operation: &str) -> Result<(), RegistryError> {
        self.received += piece.len() as u64;
        if self.received > self.size {
            return Err(RegistryError::Answer {
                operation: operation.to_owned(),
                reason: format!("it has more than the {} bytes announced", self.size),
            });
        }
        // A writer that gave up says why in `finish`.
        let _ = self.pieces.send(piece).await;
        Ok(())
    }

    async fn finish(self) -> Result<(), RegistryError> {
        drop(self.pieces);
        match self.written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::Mismatch { expected, found })) => Err(RegistryError::Digest {
                subject: "a blob as the registry sent it".to_owned(),
                expected,
                found,
            }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(RegistryError::Stopped),
        }
    }
}
