//! `Link` headers (RFC 8288, section 3). Pure.

use reqwest::header::{HeaderMap, LINK};

/// The address of the first link to a `next` page, as it is written: absolute or relative.
pub fn next(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| outside(value, ',')).find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        is_next(parameters).then_some(address)
    })
}

/// Whether `next` is among the relations; of several `rel` the first counts.
fn is_next(parameters: &str) -> bool {
    let relations = outside(parameters, ';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
    });
    relations.is_some_and(|all| all.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("next")))
}

/// The parts between separators; one inside an address (`<…>`) or a quoted string separates nothing.
fn outside(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut address, mut quoted, mut escaped) = (false, false, false);
    text.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !address => quoted = !quoted,
            '<' if !quoted => address = true,
            '>' if !quoted => address = false,
            _ => return character == separator && !quoted && !address,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn found(values: &[&str]) -> Option<String> {
        let values = values.iter().map(|value| (LINK, HeaderValue::from_str(value).unwrap()));
        next(&values.collect::<HeaderMap>()).map(str::to_owned)
    }

    #[test]
    fn the_next_page_is_found_among_several_links_and_headers() {
        for values in [
            &["</next>; rel=\"next\""][..],
            &["</next>;rel=next"],
            &["</next>; title=\"a, b; c\"; Rel = \"last NEXT\""],
            &["</first>; rel=\"first\", </next>; rel=\"next\""],
            &["</first?a=1,2;rel=next>; rel=\"first\",</next>; rel=\"next\" , </last>; rel=\"last\""],
            &["</a>; title=\"\\\", <b>; rel=next\"; rel=\"first\", </next>; rel=\"next\""],
            &["</first>; rel=\"first\"", "</next>; rel=\"next\""],
        ] {
            assert_eq!(found(values).as_deref(), Some("/next"), "{values:?}");
        }
    }

    #[test]
    fn other_relations_and_what_is_no_link_lead_nowhere() {
        for values in [
            &[][..],
            &["</a>"],
            &["</a>; rel=\"prev\"; rel=\"next\""],
            &["</a>; rel=\"nextcloud\", </b>; title=\"rel=next\""],
            &["/a; rel=\"next\""],
            &["</a; rel=\"next\""],
            &["</a>; title=\"x; rel=\"next"],
        ] {
            assert_eq!(found(values), None, "{values:?}");
        }
    }
}
