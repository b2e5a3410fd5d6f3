//! The shared credentials file, as AWS' own tools write it, with a section for each profile.
//!
//! A reader of our own, because the file's form is part of what users of the predecessor know: comments only at the
//! beginning of a line, keys in either case, a repeated section adds to the first. No error ever carries a value.

use aws_sdk_s3::config::Credentials;
use snafu::{OptionExt, Snafu, ensure};

/// Why a profile can't be used. Names the profile, never a value.
#[derive(Debug, Eq, PartialEq, Snafu)]
pub enum InvalidCredentials {
    /// No such section.
    #[snafu(display("profile {profile:?} is not in the credentials file: a line [{profile}] is needed"))]
    NoProfile {
        /// The profile.
        profile: String,
    },
    /// The section lacks something.
    #[snafu(display("profile {profile:?} of the credentials file has no {key}"))]
    NoValue {
        /// The profile.
        profile: String,
        /// What it lacks.
        key: &'static str,
    },
}

#[derive(Default)]
struct Section {
    key_id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
}

/// Reads one profile of a credentials file.
///
/// # Errors
/// A profile that isn't there, or that lacks its key id or secret.
pub fn parse(text: &str, profile: &str) -> Result<Credentials, InvalidCredentials> {
    let mut found: Option<Section> = None;
    let mut inside = false;
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let section = found.get_or_insert_default();
            let value = Some(value.trim().to_owned());
            match key.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => section.key_id = value,
                "aws_secret_access_key" => section.secret = value,
                "aws_session_token" => section.token = value,
                _ => {}
            }
        }
    }
    let section = found.context(NoProfileSnafu { profile })?;
    let key_id = needed(section.key_id, profile, "aws_access_key_id")?;
    let secret = needed(section.secret, profile, "aws_secret_access_key")?;
    let token = section.token.filter(|token| !token.is_empty());
    Ok(Credentials::new(key_id, secret, token, None, "credentials file"))
}

fn needed(value: Option<String>, profile: &str, key: &'static str) -> Result<String, InvalidCredentials> {
    let value = value.context(NoValueSnafu { profile, key })?;
    ensure!(!value.is_empty(), NoValueSnafu { profile, key });
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, profile: &str) -> (String, String, Option<String>) {
        let found = parse(text, profile).unwrap();
        let token = found.session_token().map(ToOwned::to_owned);
        (found.access_key_id().to_owned(), found.secret_access_key().to_owned(), token)
    }

    #[test]
    fn the_documented_form_is_read() {
        let text = "\u{feff}# comment\r\n[default]\r\naws_access_key_id = AKIAEXAMPLE\r\naws_secret_access_key = abc/def+ghi=\r\n\
                    [ second ]\r\n AWS_Access_Key_ID=two\r\n; comment\r\nregion = x\r\naws_secret_access_key=s # no comment\r\n\
                    aws_session_token=t\r\n";
        assert_eq!(read(text, "default"), ("AKIAEXAMPLE".into(), "abc/def+ghi=".into(), None));
        assert_eq!(read(text, "second"), ("two".into(), "s # no comment".into(), Some("t".into())));
    }

    #[test]
    fn a_repeated_section_adds_and_the_later_value_wins() {
        let text =
            "[a]\naws_access_key_id=1\naws_secret_access_key=s\n[b]\naws_access_key_id=9\n[a]\naws_access_key_id=2\n";
        assert_eq!(read(text, "a"), ("2".into(), "s".into(), None));
    }

    #[test]
    fn what_is_missing_is_named_with_its_profile() {
        let text = "aws_access_key_id=before\n[a]\naws_access_key_id=k\n[b]\naws_secret_access_key=s\n[c]\naws_access_key_id=\naws_secret_access_key=s";
        for (profile, words) in [
            ("a", "profile \"a\" of the credentials file has no aws_secret_access_key"),
            ("b", "profile \"b\" of the credentials file has no aws_access_key_id"),
            ("c", "profile \"c\" of the credentials file has no aws_access_key_id"),
            ("d", "profile \"d\" is not in the credentials file: a line [d] is needed"),
        ] {
            assert_eq!(parse(text, profile).unwrap_err().to_string(), words);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_or_tell_a_value(
            lines in prop::collection::vec("(\\[p\\]|\\[q|aws_access_key_id ?= ?SECRETVALUE|aws_secret_access_key=|[ -~]{0,20})", 0..12)
        ) {
            if let Err(error) = parse(&lines.join("\n"), "p") {
                prop_assert!(!error.to_string().contains("SECRETVALUE"));
            }
        }

        #[test]
        fn any_printable_secret_comes_back(secret in "[!-~]([ -~]{0,40}[!-~])?") {
            let text = format!("[p]\naws_access_key_id=k\naws_secret_access_key = {secret}\n");
            let found = parse(&text, "p").unwrap();
            prop_assert_eq!(found.secret_access_key(), secret);
        }
    }
}
