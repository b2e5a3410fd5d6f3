//! The file that says that a folder is ours.

use serde::{Deserialize, Serialize};

use crate::entries::Owner;

/// What of the folder's content this agent knows how to change. A folder of a later format isn't touched.
pub const FORMAT: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Marker {
    format: u32,
    #[serde(default)]
    registry: String,
    #[serde(default)]
    note: String,
}

/// The marker's content for a folder that belongs to `owner`.
#[must_use]
pub fn render(owner: &Owner) -> String {
    let marker = Marker {
        format: FORMAT,
        registry: format!("{}/{}", owner.namespace, owner.name),
        note: "This folder belongs to the Package Registry's node trust agent, which undoes changes to its files."
            .to_owned(),
    };
    // A struct of strings and numbers always serialises; an empty marker would be repaired by the next pass.
    let mut text = serde_json::to_string(&marker).unwrap_or_default();
    text.push('\n');
    text
}

/// The format that a marker names, if it is later than ours. A marker that can't be read is a damaged one of our own.
#[must_use]
pub fn later_format(content: &[u8]) -> Option<u32> {
    serde_json::from_slice::<Marker>(content).ok().map(|marker| marker.format).filter(|&format| format > FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_its_registry_and_is_of_our_format() {
        let text = render(&Owner { namespace: "packages".into(), name: "main".into() });
        assert!(text.contains("\"packages/main\""), "{text}");
        assert_eq!(later_format(text.as_bytes()), None);
    }

    #[test]
    fn a_later_format_is_told_from_a_damaged_marker() {
        assert_eq!(later_format(br#"{"format":2,"something":"new"}"#), Some(2));
        assert_eq!(later_format(b"{ damaged"), None);
    }
}
