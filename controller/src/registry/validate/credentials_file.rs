//! The AWS shared credentials file, by the rules that the server reads it with. Pure.
//!
//! Sections in brackets; `key = value` split at the first `=`; blanks around both don't count; `#` and `;` begin a comment only
//! at the beginning of a line; keys in any case; unknown keys and lines that are neither are passed over; a section that comes
//! twice is one, and the later value of a key counts.

const KEY_ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";

/// Checks that `text` has a key id and a secret for `profile`.
///
/// # Errors
/// What is missing. The words name the profile and never a value.
pub(super) fn check(text: &str, profile: &str) -> Result<(), String> {
    let mut there = false;
    let mut inside = false;
    let (mut key_id, mut secret) = (false, false);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
            there |= inside;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            let found = !value.trim().is_empty();
            match key.trim().to_ascii_lowercase().as_str() {
                KEY_ID => key_id = found,
                SECRET => secret = found,
                _ => {}
            }
        }
    }
    match (there, key_id, secret) {
        (false, ..) => Err(format!("has no profile [{profile}]")),
        (true, false, _) => Err(format!("has no {KEY_ID} in the profile [{profile}]")),
        (true, true, false) => Err(format!("has no {SECRET} in the profile [{profile}]")),
        (true, true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = AKIA\naws_secret_access_key = abc/def+ghi=\n\
                        [second]\naws_access_key_id=B\naws_secret_access_key=c\naws_session_token=d\n";

    #[test]
    fn every_profile_of_a_file_can_be_used() {
        assert_eq!(check(FILE, "default"), Ok(()));
        assert_eq!(check(FILE, "second"), Ok(()));
    }

    #[test]
    fn what_editors_leave_in_a_file_does_not_matter() {
        for text in [
            "\u{feff}[default]\r\naws_access_key_id=A\r\naws_secret_access_key=b\r\n",
            "  [ default ]  \n\tAWS_ACCESS_KEY_ID\t=\tA \n Aws_Secret_Access_Key = b",
            "[default]\naws_access_key_id=A\n; aws_secret_access_key=\naws_secret_access_key=b#c\nregion=x\ns3 =\n  max = 1\n",
            "[default]\naws_access_key_id=A\n[other]\nx=y\n[default]\naws_secret_access_key=b\n",
        ] {
            assert_eq!(check(text, "default"), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_profile_and_without_a_value() {
        let cases = [
            ("", "has no profile [default]"),
            ("aws_access_key_id=A\naws_secret_access_key=hunter2\n", "has no profile [default]"),
            ("[DEFAULT]\naws_access_key_id=A\naws_secret_access_key=hunter2\n", "has no profile [default]"),
            ("[default]\naws_secret_access_key=hunter2\n", "has no aws_access_key_id in the profile [default]"),
            ("[default]\naws_access_key_id=hunter2\n", "has no aws_secret_access_key in the profile [default]"),
            (
                "[default]\naws_access_key_id=hunter2\naws_secret_access_key=b\naws_secret_access_key=\n",
                "has no aws_secret_access_key in the profile [default]",
            ),
            ("[default]\n#aws_access_key_id=hunter2\n", "has no aws_access_key_id in the profile [default]"),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text, "default"), Err(expected.to_owned()), "{text:?}");
        }
    }
}
