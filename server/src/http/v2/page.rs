//! Lists in pages: `n`, `last` and the `Link` to the next page.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::LINK;
use serde_json::json;
use url::form_urlencoded;

use super::super::Server;
use super::super::answer::insert;
use super::catalog::has_content;
use super::error::V2Error;
use crate::names::Repository;
use crate::storage::{Item, Listing, PAGE, keys};

/// Which page is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// At most so many; never above the server's own page.
    pub count: usize,
    /// Only what comes behind this.
    pub last: Option<String>,
}

impl Wanted {
    /// Reads the query. A number that is too large is as good as the largest page.
    ///
    /// # Errors
    /// An `n` that is no number.
    pub fn of(query: &str) -> Result<Self, V2Error> {
        let mut wanted = Self { count: PAGE, last: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "n" => {
                    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                    if !digits {
                        return Err(V2Error::PageInvalid("n must be a whole number"));
                    }
                    wanted.count = value.parse().unwrap_or(PAGE).min(PAGE);
                }
                "last" if !value.is_empty() => wanted.last = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// The next page's address: a path alone, so that it holds behind every name of the registry.
    #[must_use]
    pub fn next(&self, path: &str, last: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("n", &self.count.to_string())
            .append_pair("last", last)
            .finish();
        format!("<{path}?{query}>; rel=\"next\"")
    }
}

/// `GET /v2/<name>/tags/list`.
pub async fn tags(server: &Server, repository: &Repository, uri: &Uri) -> Result<Response, V2Error> {
    let wanted = Wanted::of(uri.query().unwrap_or_default())?;
    let storage = server.catalogue.storage();
    if !has_content(storage.as_ref(), repository).await? {
        return Err(V2Error::NameUnknown(repository.to_string()));
    }
    let prefix = keys::tags(repository);
    let after = wanted.last.as_ref().map(|last| format!("{prefix}{last}"));
    // At least one is looked for, so that an empty page is told from an empty list.
    let limit = wanted.count;
    let mut page = storage.list(Listing { prefix: &prefix, folders: false, after: after.as_deref(), limit }).await?;
    page.more &= limit > 0;
    let tags: Vec<_> = page.items.iter().filter_map(|item| item.name().strip_prefix(&prefix)).collect();
    let mut response = Json(json!({ "name": repository.as_str(), "tags": tags })).into_response();
    if let (true, Some(last)) = (page.more, page.items.last().map(Item::name)) {
        let last = last.strip_prefix(&prefix).unwrap_or_default();
        insert(response.headers_mut(), LINK, &wanted.next(uri.path(), last));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_never_larger_than_the_servers_own() {
        for n in ["1000000000", "99999999999999999999999999"] {
            assert_eq!(Wanted::of(&format!("n={n}")).unwrap().count, PAGE);
        }
        assert_eq!(Wanted::of("n=0").unwrap().count, 0);
        assert_eq!(Wanted::of("").unwrap(), Wanted { count: PAGE, last: None });
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for n in ["-1", "x", "", "1.5", "+1"] {
            assert!(Wanted::of(&format!("n={n}")).is_err(), "{n}");
        }
    }

    #[test]
    fn the_next_page_is_a_path_with_its_values_coded() {
        let wanted = Wanted::of("n=2").unwrap();
        assert_eq!(wanted.next("/v2/_catalog", "a/b&c"), "</v2/_catalog?n=2&last=a%2Fb%26c>; rel=\"next\"");
    }
}
