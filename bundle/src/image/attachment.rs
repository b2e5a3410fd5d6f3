//! What cosign keeps of an image under tags beside it, where it doesn't use the list of referrers: signatures, attestations,
//! SBOMs. The tag, `sha256-<hex>.sig`, says to which manifest it belongs; nothing in the document does.
//!
//! A bundle's `images/index.json` lists it under its whole name, `docker.io/acme/web:sha256-<hex>.sig`, as it lists images; so it
//! stays an ordinary image layout. The metadata doesn't name it, and the content digest leaves it out.

use crate::reference::is_sha256_hex;

/// How the tags end: of signatures, of attestations, of SBOMs.
const KINDS: [&str; 3] = ["sig", "att", "sbom"];

/// The tags under which something may be kept of a manifest or index with this digest.
pub fn tags(digest: &str) -> impl Iterator<Item = String> {
    let beginning = digest.replace(':', "-");
    KINDS.iter().map(move |kind| format!("{beginning}.{kind}"))
}

/// Digest of the manifest or index to which what has this tag belongs; `None` for tags of any other form.
#[must_use]
pub fn subject(tag: &str) -> Option<String> {
    let (beginning, kind) = tag.rsplit_once('.')?;
    let hex = beginning.strip_prefix("sha256-").filter(|hex| is_sha256_hex(hex))?;
    KINDS.contains(&kind).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_belongs_to_and_others_belong_to_nothing() {
        let hex = "a1".repeat(32);
        let digest = format!("sha256:{hex}");
        let tags: Vec<_> = tags(&digest).collect();
        assert_eq!(tags, ["sig", "att", "sbom"].map(|kind| format!("sha256-{hex}.{kind}")));
        assert!(tags.iter().all(|tag| subject(tag).as_ref() == Some(&digest)), "{tags:?}");
        for other in [format!("sha256-{hex}"), format!("sha256-{hex}.pem"), format!("sha512-{hex}.sig")] {
            assert_eq!(subject(&other), None, "{other}");
        }
        for other in ["5", "sig", "sha256-.sig", &format!("sha256-{}.sig", hex.to_uppercase())] {
            assert_eq!(subject(other), None, "{other}");
        }
    }
}
