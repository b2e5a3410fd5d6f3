//! Pulling: what an image consists of is asked first, then what the cache lacks is downloaded, several blobs at a time.

use std::collections::{BTreeMap, HashSet};

use bundle::digest::sha256;
use bundle::image::outline::{DEEPEST, MANIFEST_TYPES, Outline, OutlineError, Selection, media_type, select};
use bundle::image::platform::Platform;
use bundle::model::Descriptor;
use bundle::reference::Reference;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use snafu::{OptionExt, ResultExt, Snafu};

use super::client::Client;
use super::hosts::{Hosts, HostsError};
use super::hosts_toml::Endpoint;
use super::source::Source;
use crate::cache::{Cache, CacheError, Partial};
use crate::http::{ATTEMPTS, RequestError, repeat};
use crate::output::warning;
use crate::progress::Transfer;
use crate::resume::{ResumeError, fill};

/// Blobs that are downloaded at the same time.
const PARALLEL: usize = 4;
/// Bytes of a manifest or index: what registries take.
const LARGEST_MANIFEST: u64 = 4 << 20;

/// Why an image was not pulled.
#[derive(Debug, Snafu)]
pub enum PullError {
    /// Where to ask can't be said.
    #[snafu(display("image {image}: {source}"))]
    Where {
        /// Which image.
        image: String,
        /// Why.
        source: HostsError,
    },
    /// Nobody who was asked has it.
    #[snafu(display("image {image}: {what}: {}", reasons.join("; ")))]
    Ask {
        /// Which image.
        image: String,
        /// What was asked for.
        what: String,
        /// Who said what.
        reasons: Vec<String>,
    },
    /// A document is wrong.
    #[snafu(display("image {image}: {digest}: {source}"))]
    Document {
        /// Which image.
        image: String,
        /// Which document.
        digest: String,
        /// Why.
        source: OutlineError,
    },
    /// The image is not for a wanted platform.
    #[snafu(display("image {image} is not for {wanted}, it is for {available}"))]
    NoPlatform {
        /// Which image.
        image: String,
        /// What `--platform` says.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// Other bytes than were asked for.
    #[snafu(display("image {image}: {reason}"))]
    Content {
        /// Which image.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// The cache.
    #[snafu(display("{source}"))]
    Cache {
        /// Why.
        source: CacheError,
    },
}

/// Pulls images into the cache.
pub struct Puller<'a> {
    /// Asks.
    pub client: &'a Client,
    /// Knows whom to ask.
    pub hosts: &'a Hosts,
    /// Where everything goes.
    pub cache: &'a Cache,
    /// What is wanted; empty: all that there is.
    pub platforms: &'a [Platform],
    /// Whether what belongs to the images is wanted, too.
    pub with_referrers: bool,
}

/// What was pulled.
pub struct Pulled {
    /// Names, and what each stands for. Signatures and the like that are kept under tags of their own are among them.
    pub images: Vec<(String, Descriptor)>,
    /// Those that have no names.
    pub referrers: Vec<Descriptor>,
}

impl Puller<'_> {
    /// Pulls images, each given as written and as parsed.
    pub async fn pull(&self, images: &[(String, Reference)]) -> Result<Pulled, PullError> {
        let mut sources = Vec::new();
        for (image, reference) in images {
            let endpoints = self.hosts.endpoints(&reference.host).context(WhereSnafu { image })?;
            sources.push(Source { image, host: &reference.host, repository: &reference.path, endpoints });
        }
        let mut pulled = Pulled { images: Vec::new(), referrers: Vec::new() };
        // Each blob once, by the first image that needs it.
        let mut blobs: BTreeMap<String, (u64, &Source<'_>)> = BTreeMap::new();
        for (source, (_, reference)) in sources.iter().zip(images) {
            let target = self.resolve(source, reference).await?;
            let mut needed = Vec::new();
            let manifests = self.walk(source, &target, &mut needed).await?;
            if self.with_referrers {
                self.referrers(source, manifests, &mut needed, &mut pulled).await?;
            }
            for blob in needed {
                blobs.entry(blob.digest).or_insert((blob.size, source));
            }
            pulled.images.push((reference.to_string(), target));
        }
        let mut missing = Vec::new();
        for (digest, (size, source)) in blobs {
            if self.cache.find(&digest).context(CacheSnafu)?.is_none() {
                missing.push((digest, size, source));
            }
        }
        self.download(missing).await?;
        Ok(pulled)
    }

    /// What a reference stands for, with only the wanted platforms.
    async fn resolve(&self, source: &Source<'_>, reference: &Reference) -> Result<Descriptor, PullError> {
        let image = source.image;
        let (target, bytes) = match &reference.digest {
            Some(digest) => self.manifest(source, digest, None).await?,
            None => self.manifest(source, reference.published_tag().unwrap_or("latest"), None).await?,
        };
        if self.platforms.is_empty() {
            return Ok(target);
        }
        let document = DocumentSnafu { image, digest: &target.digest };
        match Outline::read(&target, &bytes).context(document)? {
            Outline::Index { .. } => match select(&target, &bytes, self.platforms).context(document)? {
                Selection::Whole => Ok(target),
                Selection::None { available } => self.not_for(image, &available.join(", ")),
                _ if reference.digest.is_some() => {
                    warning(&format!("{image} is named by the digest of an index: all its platforms are taken"));
                    Ok(target)
                }
                Selection::One(one) => Ok(one),
                Selection::Index { target, bytes } => {
                    self.cache.add(&bytes).context(CacheSnafu)?;
                    Ok(target)
                }
            },
            Outline::Manifest { config, .. } => {
                self.blob(source, &config.digest, config.size, &|_| {}).await?;
                let gone = || ContentSnafu { image, reason: format!("{} has left the cache meanwhile", config.digest) };
                let read = self.cache.read(&config.digest).context(CacheSnafu)?.with_context(gone)?;
                // What has no image config (charts, attestations) is for every platform.
                match Platform::of_config(&read) {
                    Ok(platform) if !self.platforms.iter().any(|wanted| wanted.covers(&platform)) => {
                        self.not_for(image, &platform.to_string())
                    }
                    _ => Ok(target),
                }
            }
        }
    }

    fn not_for<T>(&self, image: &str, available: &str) -> Result<T, PullError> {
        let wanted = self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        NoPlatformSnafu { image, wanted, available }.fail()
    }

    /// Gets every manifest from `target` on down, gives their digests, and collects what they need.
    pub(super) async fn walk(
        &self,
        source: &Source<'_>,
        target: &Descriptor,
        needed: &mut Vec<Descriptor>,
    ) -> Result<HashSet<String>, PullError> {
        let image = source.image;
        let mut waiting = vec![(target.clone(), 0)];
        let mut seen = HashSet::new();
        while let Some((target, depth)) = waiting.pop() {
            if !seen.insert(target.digest.clone()) {
                continue;
            }
            let (_, bytes) = self.manifest(source, &target.digest, Some(&target)).await?;
            match Outline::read(&target, &bytes).context(DocumentSnafu { image, digest: &target.digest })? {
                Outline::Index { .. } if depth >= DEEPEST => {
                    let reason = format!("index {} is nested more than {DEEPEST} levels deep", target.digest);
                    return ContentSnafu { image, reason }.fail();
                }
                Outline::Index { children, .. } => waiting.extend(children.into_iter().map(|child| (child, depth + 1))),
                Outline::Manifest { config, layers, .. } => needed.extend(std::iter::once(config).chain(layers)),
            }
        }
        Ok(seen)
    }

    /// A manifest or index by tag or digest: from the cache, or asked for and put there.
    pub(super) async fn manifest(
        &self,
        source: &Source<'_>,
        wanted: &str,
        said: Option<&Descriptor>,
    ) -> Result<(Descriptor, Vec<u8>), PullError> {
        let image = source.image;
        let by_digest = wanted.starts_with("sha256:");
        let held = if by_digest { self.cache.read(wanted).context(CacheSnafu)? } else { None };
        if let Some(bytes) = held {
            let noted: Option<String> = self.cache.noted(&type_key(wanted));
            let known = said.map(|said| said.media_type.clone()).or(noted);
            if let Some(media_type) = known.or_else(|| Some(media_type(&bytes, "")).filter(|known| !known.is_empty())) {
                return Ok((Descriptor { media_type, digest: wanted.to_owned(), size: bytes.len() as u64 }, bytes));
            }
        }
        let can = |endpoint: &Endpoint| if by_digest { endpoint.pull } else { endpoint.resolve };
        let ask = async |endpoint: &Endpoint| self.manifest_of(source, endpoint, wanted).await;
        let (target, bytes) =
            source.first(can, ask).await.map_err(|reasons| source.failed(&format!("manifest {wanted}"), reasons))?;
        if let Some(said) = said.filter(|said| said.size != target.size) {
            let reason = format!("{wanted} has {} bytes, what refers to it says {}", target.size, said.size);
            return ContentSnafu { image, reason }.fail();
        }
        self.keep(&target, &bytes)?;
        Ok((target, bytes))
    }

    /// A manifest or index by tag or digest, as one endpoint has it.
    pub(super) async fn manifest_of(
        &self,
        source: &Source<'_>,
        endpoint: &Endpoint,
        wanted: &str,
    ) -> Result<(Descriptor, Vec<u8>), RequestError> {
        let mut headers = HeaderMap::new();
        for accepted in MANIFEST_TYPES {
            headers.append(ACCEPT, HeaderValue::from_static(accepted));
        }
        let rest = format!("manifests/{wanted}");
        let get = async || self.client.get(endpoint, source.repository, &rest, &headers).await;
        let answer = repeat(ATTEMPTS, get).await?;
        let said = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let said = said.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = whole(answer).await?;
        let digest = sha256(&bytes);
        if wanted.starts_with("sha256:") && digest != wanted {
            return Err(RequestError::Refused { reason: format!("its content has digest {digest}") });
        }
        Ok((Descriptor { media_type: media_type(&bytes, &said), digest, size: bytes.len() as u64 }, bytes))
    }

    /// Puts a manifest or index into the cache.
    pub(super) fn keep(&self, target: &Descriptor, bytes: &[u8]) -> Result<(), PullError> {
        self.cache.add(bytes).context(CacheSnafu)?;
        self.cache.take_note(&type_key(&target.digest), &target.media_type).context(CacheSnafu)
    }

    async fn download(&self, missing: Vec<(String, u64, &Source<'_>)>) -> Result<(), PullError> {
        if missing.is_empty() {
            return Ok(());
        }
        let progress = Transfer::start("Image download progress", missing.iter().map(|(_, size, _)| size).sum());
        let advance = |bytes| progress.advance(bytes);
        let each = missing.into_iter().map(|(digest, size, source)| {
            let advance = &advance;
            async move { self.blob(source, &digest, size, advance).await }
        });
        futures::stream::iter(each).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        progress.finish();
        Ok(())
    }

    /// Gets a config or layer into the cache.
    async fn blob(
        &self,
        source: &Source<'_>,
        digest: &str,
        size: u64,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<(), PullError> {
        if self.cache.find(digest).context(CacheSnafu)?.is_some() {
            advance(size);
            return Ok(());
        }
        let partial = self.cache.partial(digest.trim_start_matches("sha256:")).await.context(CacheSnafu)?;
        // Another build may have got it while this one waited.
        if self.cache.find(digest).context(CacheSnafu)?.is_some() {
            advance(size);
            return Ok(());
        }
        advance(partial.size().min(size));
        let partial = tokio::sync::Mutex::new(partial);
        let ask = async |endpoint: &Endpoint| {
            let mut partial = partial.lock().await;
            self.fill(source, endpoint, digest, size, &mut partial, advance).await
        };
        let what = format!("blob {digest}");
        source.first(|endpoint| endpoint.pull, ask).await.map_err(|reasons| source.failed(&what, reasons))?;
        self.cache.keep(partial.into_inner()).map(drop).context(CacheSnafu)
    }

    async fn fill(
        &self,
        source: &Source<'_>,
        endpoint: &Endpoint,
        digest: &str,
        size: u64,
        partial: &mut Partial,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RequestError> {
        let rest = format!("blobs/{digest}");
        let refused = |reason: String| RequestError::Refused { reason };
        if partial.size() > size {
            partial.clear().map_err(|error| refused(error.to_string()))?;
        }
        let ask = async |from| {
            let mut headers = HeaderMap::new();
            if from > 0 {
                let range = HeaderValue::try_from(format!("bytes={from}-"));
                headers.extend(range.ok().map(|range| (RANGE, range)));
            }
            self.client.get(endpoint, source.repository, &rest, &headers).await
        };
        loop {
            let resumed = partial.size() > 0;
            fill(partial, Some(size), &ask, advance).await.map_err(|error| match error {
                ResumeError::Request { source } => source,
                other => refused(other.to_string()),
            })?;
            let found = partial.digest();
            if found == digest {
                return Ok(());
            }
            partial.clear().map_err(|error| refused(error.to_string()))?;
            // What was there from before may be what was wrong.
            if !resumed {
                return Err(refused(format!("its content has digest {found}")));
            }
        }
    }
}

/// Where the type of a document is noted that doesn't say it itself.
fn type_key(digest: &str) -> String {
    format!("type-{}", digest.trim_start_matches("sha256:"))
}

/// A document, to its end.
pub(super) async fn whole(mut answer: reqwest::Response) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > LARGEST_MANIFEST {
            return Err(RequestError::Refused { reason: format!("it has more than {LARGEST_MANIFEST} bytes") });
        }
    }
    Ok(bytes)
}
