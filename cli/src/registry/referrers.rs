//! What belongs to images and is none itself (signatures, attestations, SBOMs): manifests that registries list by their
//! subject, and those that cosign keeps under tags beside the images.

use std::collections::HashSet;

use bundle::image::attachment;
use bundle::image::outline::Outline;
use bundle::model::Descriptor;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};

use super::hosts_toml::Endpoint;
use super::link;
use super::pull::{PullError, Pulled, Puller, whole};
use super::source::Source;
use crate::http::{ATTEMPTS, RequestError, repeat};
use crate::output::warning;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Pages of a list that are read.
const MOST_PAGES: usize = 100;

impl Puller<'_> {
    /// Gets what belongs to these manifests, and what belongs to that, and collects what it needs.
    pub(super) async fn referrers(
        &self,
        source: &Source<'_>,
        manifests: HashSet<String>,
        needed: &mut Vec<Descriptor>,
        pulled: &mut Pulled,
    ) -> Result<(), PullError> {
        let before = pulled.referrers.len() + pulled.images.len();
        let mut waiting: Vec<String> = manifests.iter().cloned().collect();
        let mut seen = manifests;
        while let Some(subject) = waiting.pop() {
            let mut belonging = Vec::new();
            for listed in self.listed(source, &subject).await? {
                if !seen.contains(&listed.digest) {
                    let (target, bytes) = self.manifest(source, &listed.digest, Some(&listed)).await?;
                    if is_right(source.image, &target, &bytes, Some(&subject)) {
                        pulled.referrers.push(target.clone());
                        belonging.push(target);
                    }
                }
            }
            for tag in attachment::tags(&subject) {
                let Some((target, bytes)) = self.tagged(source, &tag).await? else { continue };
                if is_right(source.image, &target, &bytes, None) {
                    self.keep(&target, &bytes)?;
                    pulled.images.push((format!("{}/{}:{tag}", source.host, source.repository), target.clone()));
                    belonging.push(target);
                }
            }
            for target in belonging {
                // An index comes with its manifests, which can be signed, too.
                let walked = self.walk(source, &target, needed).await?;
                waiting.extend(walked.into_iter().filter(|digest| seen.insert(digest.clone())));
            }
        }
        if pulled.referrers.len() + pulled.images.len() == before {
            warning(&format!("{}: nothing refers to it", source.image));
        }
        Ok(())
    }

    /// What lists of referrers to a manifest have.
    async fn listed(&self, source: &Source<'_>, subject: &str) -> Result<Vec<Descriptor>, PullError> {
        let ask = async |endpoint: &Endpoint| {
            let listed = self.listed_by(endpoint, source.repository, subject).await?;
            Ok(Some(listed).filter(|listed| !listed.is_empty()))
        };
        Ok(source.if_any(&format!("referrers of {subject}"), ask).await?.unwrap_or_default())
    }

    /// What a tag stands for, if there is such a tag.
    async fn tagged(&self, source: &Source<'_>, tag: &str) -> Result<Option<(Descriptor, Vec<u8>)>, PullError> {
        let ask = async |endpoint: &Endpoint| match self.manifest_of(source, endpoint, tag).await {
            Err(RequestError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            answer => answer.map(Some),
        };
        source.if_any(&format!("tag {tag}"), ask).await
    }

    /// The whole list of an endpoint; of one that has no such lists, what clients keep under a tag in their place.
    async fn listed_by(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        subject: &str,
    ) -> Result<Vec<Descriptor>, RequestError> {
        let (mut listed, mut rest) = (Vec::new(), format!("referrers/{subject}"));
        for _ in 0..MOST_PAGES {
            let Some(answer) = self.asked(endpoint, repository, &rest).await? else {
                let tag = format!("manifests/{}", subject.replace(':', "-"));
                return match self.asked(endpoint, repository, &tag).await? {
                    Some(answer) => children(&whole(answer).await?),
                    None => Ok(Vec::new()),
                };
            };
            let next = link::next(answer.headers()).map(|next| rest_of(endpoint, repository, next)).transpose()?;
            listed.extend(children(&whole(answer).await?)?);
            match next {
                Some(next) => rest = next,
                None => return Ok(listed),
            }
        }
        Err(refused(format!("its list of referrers has more than {MOST_PAGES} pages")))
    }

    /// An answer; `None` where there is no such thing.
    async fn asked(&self, endpoint: &Endpoint, repository: &str, rest: &str) -> Result<Option<Response>, RequestError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(INDEX))]);
        let get = async || self.client.get(endpoint, repository, rest, &headers).await;
        match repeat(ATTEMPTS, get).await {
            Err(RequestError::Status { status, .. }) if is_unknown(status) => Ok(None),
            answer => answer.map(Some),
        }
    }
}

/// Whether a document can be taken: it is a manifest or index and, where it is listed for something, refers to that. Says why
/// not.
fn is_right(image: &str, target: &Descriptor, bytes: &[u8], listed_for: Option<&String>) -> bool {
    let reason = match (Outline::read(target, bytes).map(Outline::subject), listed_for) {
        (Ok(said), Some(subject)) if said.as_ref() != Some(subject) => {
            format!("it is listed for {subject}, to which it does not refer")
        }
        (Ok(_), _) => return true,
        (Err(error), _) => error.to_string(),
    };
    warning(&format!("{image}: {} is left out: {reason}", target.digest));
    false
}

/// What registries say that don't know what they are asked for.
fn is_unknown(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE
    )
}

fn children(bytes: &[u8]) -> Result<Vec<Descriptor>, RequestError> {
    let target = Descriptor { media_type: INDEX.to_owned(), digest: "its list".to_owned(), size: bytes.len() as u64 };
    match Outline::read(&target, bytes) {
        Ok(Outline::Index { children, .. }) => Ok(children),
        Ok(Outline::Manifest { .. }) => Ok(Vec::new()),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// What of an address is behind the repository; one elsewhere is not asked, it would get the authorization.
fn rest_of(endpoint: &Endpoint, repository: &str, address: &str) -> Result<String, RequestError> {
    let next = endpoint.base.join(address).map(String::from).unwrap_or_default();
    let here = endpoint.base.join(&format!("{repository}/")).map(String::from).unwrap_or_default();
    let rest = next.strip_prefix(&here).filter(|_| !here.is_empty());
    rest.map(str::to_owned)
        .ok_or_else(|| refused(format!("its list of referrers goes on at {address}, which is elsewhere")))
}

fn refused(reason: String) -> RequestError {
    RequestError::Refused { reason }
}
