//! Whether a package may be published where one of its name and version is already. Pure.

use api::PackageSource;

use super::entry::Entry;
use super::options::OnConflict;
use super::publish::{AlreadyDeclaredSnafu, ConflictSnafu, PublishError};

/// What becomes of what is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It is the same package: it stays, and so does who wants it.
    Same,
    /// The new one takes its place.
    Replaced,
}

/// Two declarations never share a name and version: the first one has it. What was uploaded gives way to a declaration of the
/// same content, never the other way round. An object that was made anew under its name, as in a restored cluster, has another
/// id, and what it had is its again. The same content with a signature more, or with something more that is said of an image,
/// takes the place of the one without.
///
/// # Errors
/// A package that may not be published, with what to do.
pub(super) fn standing(there: &Entry, new: &Entry, on_conflict: OnConflict) -> Result<Standing, PublishError> {
    let (name, version, same) = (&new.name, &new.version, there.digest == new.digest);
    let declared = (there.source, new.source);
    let made_anew = same && there.declaration.by == new.declaration.by;
    if declared == (PackageSource::Url, PackageSource::Url) && there.declaration.id != new.declaration.id && !made_anew
    {
        let content = if same { "with the same content" } else { "with other content" };
        return AlreadyDeclaredSnafu { name, version, by: &there.declaration.by, content }.fail();
    }
    if same {
        let stays = match declared {
            (PackageSource::Url, PackageSource::Upload) => true,
            (PackageSource::Upload, PackageSource::Url) => false,
            (_, PackageSource::Upload) => there.says_as_much_as(new),
            _ => there.declaration == new.declaration && there.says_as_much_as(new),
        };
        return Ok(if stays { Standing::Same } else { Standing::Replaced });
    }
    let advice = match declared {
        (PackageSource::Url, PackageSource::Upload) => {
            format!("it is declared by {}: change or delete that declaration", there.declaration.by)
        }
        _ if on_conflict == OnConflict::Replace => return Ok(Standing::Replaced),
        (PackageSource::Url, PackageSource::Url) => "delete the declaration and declare it again".to_owned(),
        (PackageSource::Upload, _) => {
            format!("remove it first (dcos-registry registry remove --package-name={name} --package-version={version})")
        }
    };
    ConflictSnafu { name, version, digest: &there.digest, advice }.fail()
}

#[cfg(test)]
mod tests {
    use super::super::entry::Declared;
    use super::*;

    fn entry(source: PackageSource, id: &str, digest: &str) -> Entry {
        Entry {
            digest: digest.into(),
            source,
            declaration: Declared { id: id.into(), source: digest.into(), by: "apps/it".into() },
            ..Entry::bare("redis")
        }
    }

    fn url(id: &str, digest: &str) -> Entry {
        entry(PackageSource::Url, id, digest)
    }

    fn upload(digest: &str) -> Entry {
        entry(PackageSource::Upload, &format!("upload-{digest}"), digest)
    }

    fn refused(there: &Entry, new: &Entry, on_conflict: OnConflict) -> String {
        standing(there, new, on_conflict).unwrap_err().to_string()
    }

    #[test]
    fn another_declaration_is_refused_whatever_it_brings() {
        let mut other = url("b", "x");
        other.declaration.by = "apps/other".into();
        for on_conflict in [OnConflict::Reject, OnConflict::Replace] {
            for new in [&other, &url("b", "y")] {
                let message = refused(&url("a", "x"), new, on_conflict);
                assert!(message.contains("is declared by apps/it already"), "{message}");
            }
        }
    }

    #[test]
    fn an_object_that_was_made_anew_under_its_name_has_the_same_content_again() {
        assert_eq!(standing(&url("a", "x"), &url("b", "x"), OnConflict::Reject).unwrap(), Standing::Replaced);
    }

    #[test]
    fn the_same_content_again_changes_nothing() {
        assert_eq!(standing(&upload("x"), &upload("x"), OnConflict::Reject).unwrap(), Standing::Same);
        assert_eq!(standing(&url("a", "x"), &url("a", "x"), OnConflict::Reject).unwrap(), Standing::Same);
        assert_eq!(standing(&url("a", "x"), &upload("x"), OnConflict::Reject).unwrap(), Standing::Same);
    }

    #[test]
    fn the_same_content_with_more_said_of_it_takes_the_place_but_never_that_of_a_declaration() {
        let signed = |mut entry: Entry| {
            entry.signatures = vec!["one".into()];
            entry
        };
        for new in [signed(upload("x")), signed(url("a", "x"))] {
            let there = Entry { signatures: vec![], ..new.clone() };
            assert_eq!(standing(&there, &new, OnConflict::Reject).unwrap(), Standing::Replaced);
            assert_eq!(standing(&new, &there, OnConflict::Reject).unwrap(), Standing::Same);
        }
        assert_eq!(standing(&url("a", "x"), &signed(upload("x")), OnConflict::Reject).unwrap(), Standing::Same);
    }

    #[test]
    fn a_declaration_takes_over_what_was_uploaded_with_the_same_content() {
        assert_eq!(standing(&upload("x"), &url("a", "x"), OnConflict::Reject).unwrap(), Standing::Replaced);
    }

    #[test]
    fn other_content_is_refused_with_what_to_do() {
        for (there, new, words) in [
            (upload("x"), upload("y"), "registry remove --package-name=redis --package-version=1"),
            (upload("x"), url("a", "y"), "registry remove --package-name=redis --package-version=1"),
            (url("a", "x"), url("a", "y"), "delete the declaration"),
            (url("a", "x"), upload("y"), "declared by apps/it"),
        ] {
            let message = refused(&there, &new, OnConflict::Reject);
            assert!(message.contains(words) && message.contains("another version"), "{message}");
        }
    }

    #[test]
    fn other_content_takes_the_place_where_that_is_allowed_but_never_that_of_a_declaration() {
        for (there, new) in [(upload("x"), upload("y")), (upload("x"), url("a", "y")), (url("a", "x"), url("a", "y"))] {
            assert_eq!(standing(&there, &new, OnConflict::Replace).unwrap(), Standing::Replaced);
        }
        assert!(refused(&url("a", "x"), &upload("y"), OnConflict::Replace).contains("declared by apps/it"));
    }
}
