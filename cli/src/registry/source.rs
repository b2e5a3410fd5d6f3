//! An image that is being pulled, and who is asked for it.

use super::client::authority;
use super::hosts_toml::Endpoint;
use super::pull::PullError;
use crate::http::RequestError;

/// An image that is being pulled.
pub(super) struct Source<'a> {
    /// As it is written.
    pub(super) image: &'a str,
    /// Its registry's host.
    pub(super) host: &'a str,
    /// Its repository there.
    pub(super) repository: &'a str,
    /// Who is asked, the registry itself last.
    pub(super) endpoints: Vec<Endpoint>,
}

impl Source<'_> {
    /// Asks the endpoints that can be asked, one after the other, until one has it; else what each of them says.
    pub(super) async fn first<T>(
        &self,
        can: impl Fn(&Endpoint) -> bool,
        ask: impl AsyncFn(&Endpoint) -> Result<T, RequestError>,
    ) -> Result<T, Vec<String>> {
        let mut reasons = Vec::new();
        for endpoint in self.endpoints.iter().filter(|endpoint| can(endpoint)) {
            match ask(endpoint).await {
                Ok(answer) => return Ok(answer),
                Err(error) => reasons.push(format!("{}: {error}", authority(&endpoint.base))),
            }
        }
        Err(reasons)
    }

    /// What the first endpoint has that has anything. That there is nothing counts when nobody failed to answer, or when the
    /// registry itself, which is asked last, says so: what a mirror lacks the registry may have.
    pub(super) async fn if_any<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Endpoint) -> Result<Option<T>, RequestError>,
    ) -> Result<Option<T>, PullError> {
        let (mut nothing, mut reasons) = (false, Vec::new());
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.pull) {
            match ask(endpoint).await {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => nothing = reasons.is_empty() || self.endpoints.last() == Some(endpoint),
                Err(error) => {
                    nothing = false;
                    reasons.push(format!("{}: {error}", authority(&endpoint.base)));
                }
            }
        }
        if nothing { Ok(None) } else { Err(self.failed(what, reasons)) }
    }

    /// Nobody has what was asked for, and that is what they say.
    pub(super) fn failed(&self, what: &str, mut reasons: Vec<String>) -> PullError {
        if reasons.is_empty() {
            reasons.push("hosts.toml names nobody who may be asked for this".to_owned());
        }
        PullError::Ask { image: self.image.to_owned(), what: what.to_owned(), reasons }
    }
}
