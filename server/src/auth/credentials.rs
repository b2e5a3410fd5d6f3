//! What a request carries to say who it is from. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longest token that is looked at.
const LONGEST: usize = 16 << 10;

/// What was found.
#[derive(Clone, Eq, PartialEq)]
pub enum Presented {
    /// No `Authorization`.
    Nothing,
    /// Something that is no token.
    Unusable,
    /// A token, as bearer or as password.
    Token(String),
}

/// Reads `Authorization`: `Bearer <token>`, or `Basic` with the token as password under any user name.
#[must_use]
pub fn presented(headers: &HeaderMap) -> Presented {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Presented::Nothing };
    if all.next().is_some() {
        return Presented::Unusable;
    }
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, rest)| {
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Some(rest.to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            decoded.split_once(':').map(|(_, password)| password.to_owned())
        } else {
            None
        }
    });
    match token {
        Some(token) if is_token(&token) => Presented::Token(token),
        _ => Presented::Unusable,
    }
}

fn is_token(token: &str) -> bool {
    (1..=LONGEST).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(values: &[&str]) -> Presented {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        presented(&headers)
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_password() {
        let basic = format!("Basic {}", STANDARD.encode("anyone:to:ken"));
        assert!(from(&["bearer t.o.k"]) == Presented::Token("t.o.k".into()));
        assert!(from(&[&basic]) == Presented::Token("to:ken".into()));
    }

    #[test]
    fn what_is_no_token_is_unusable() {
        let empty = format!("Basic {}", STANDARD.encode("anyone:"));
        let long = format!("Bearer {}", "x".repeat(LONGEST + 1));
        for value in ["", "Bearer", "Bearer ", "Basic !!!", "Basic YQ==", "Negotiate x", &empty, &long] {
            assert!(from(&[value]) == Presented::Unusable, "{value:.40}");
        }
        assert!(from(&["Bearer a", "Bearer b"]) == Presented::Unusable);
        assert!(from(&[]) == Presented::Nothing);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(text in "[ -~]{0,100}") {
            let _ = from(&[&text]);
        }
    }
}
