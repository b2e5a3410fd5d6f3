//! What belongs to images and is none itself (signatures, attestations, SBOMs): manifests that registries list by their subject.

use std::collections::HashSet;

use bundle::image::outline::Outline;
use bundle::model::Descriptor;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};

use super::client::authority;
use super::hosts_toml::Endpoint;
use super::link;
use super::pull::{PullError, Puller, Source, whole};
use crate::http::{ATTEMPTS, RequestError, repeat};
use crate::output::warning;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Pages of a list that are read.
const MOST_PAGES: usize = 100;

impl Puller<'_> {
    /// Gets the manifests that refer to these, and those that refer to them, and collects what they need.
    pub(super) async fn referrers(
        &self,
        source: &Source<'_>,
        manifests: HashSet<String>,
        needed: &mut Vec<Descriptor>,
    ) -> Result<Vec<Descriptor>, PullError> {
        let image = source.image;
        let mut waiting: Vec<String> = manifests.iter().cloned().collect();
        let (mut seen, mut referrers) = (manifests, Vec::new());
        while let Some(subject) = waiting.pop() {
            for listed in self.listed(source, &subject).await? {
                if seen.contains(&listed.digest) {
                    continue;
                }
                let (target, bytes) = self.manifest(source, &listed.digest, Some(&listed)).await?;
                let left_out = match Outline::read(&target, &bytes).map(Outline::subject) {
                    Ok(said) if said.as_ref() == Some(&subject) => None,
                    Ok(_) => Some(format!("it is listed for {subject}, to which it does not refer")),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(reason) = left_out {
                    warning(&format!("{image}: {} is left out: {reason}", target.digest));
                    continue;
                }
                // An index comes with its manifests, which can be signed, too.
                let walked = self.walk(source, &target, needed).await?;
                waiting.extend(walked.into_iter().filter(|digest| seen.insert(digest.clone())));
                referrers.push(target);
            }
        }
        if referrers.is_empty() {
            warning(&format!("{image}: nothing refers to it"));
        }
        Ok(referrers)
    }

    /// What the first endpoint lists that lists anything. That there is nothing counts when nobody failed to answer, or when the
    /// registry itself, which is asked last, says so: what a mirror lacks the registry may have.
    async fn listed(&self, source: &Source<'_>, subject: &str) -> Result<Vec<Descriptor>, PullError> {
        let (mut nothing, mut reasons) = (false, Vec::new());
        for endpoint in source.endpoints.iter().filter(|endpoint| endpoint.pull) {
            match self.listed_by(endpoint, source.repository, subject).await {
                Ok(listed) if !listed.is_empty() => return Ok(listed),
                Ok(_) => nothing = reasons.is_empty() || source.endpoints.last() == Some(endpoint),
                Err(error) => {
                    nothing = false;
                    reasons.push(format!("{}: {error}", authority(&endpoint.base)));
                }
            }
        }
        if nothing { Ok(Vec::new()) } else { Err(source.failed(&format!("referrers of {subject}"), reasons)) }
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
