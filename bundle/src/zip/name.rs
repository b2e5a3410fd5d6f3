//! Names of entries.

/// Longest name that is read, in bytes; the longest that the writer makes has 203.
const LONGEST: usize = 255;

/// What is wrong with a name: it must be a relative path that means the same everywhere. A slash at the end marks a folder.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.is_empty() {
        Some("the name is empty")
    } else if name.len() > LONGEST {
        Some("the name has more than 255 bytes")
    } else if name.starts_with('/') {
        Some("the name is absolute, must be relative")
    } else if name.contains('\\') {
        Some("the name has a backslash, segments are separated by /")
    } else if name.chars().any(char::is_control) {
        Some("the name has a control character")
    } else if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Some("the name has an empty segment, . or ..")
    } else if path.as_bytes().get(1) == Some(&b':') {
        Some("the name starts with a drive letter")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_faulty() {
        for wrong in
            ["", "/", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a\\b", "a\0", "a\n", "C:/a", &"a".repeat(256)]
        {
            assert!(fault(wrong).is_some(), "{wrong}");
        }
        for right in ["a", "a/", "a/b.c", "a/..b", "ä", "..."] {
            assert!(fault(right).is_none(), "{right}");
        }
    }
}
