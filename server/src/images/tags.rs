//! Moving tags. Who may only create moves what pushes made, never what a package publishes.

use futures::future::BoxFuture;

use super::links::ATTEMPTS;
use super::{ImageError, Images};
use crate::auth::AuthError;
use crate::catalogue::entry::TagTarget;
use crate::names::{Repository, Tag};
use crate::storage::{Condition, StorageError, document, keys};

/// Asks whether the caller may move a tag that a package publishes.
pub type MayMove<'a> = dyn Fn() -> BoxFuture<'a, Result<(), AuthError>> + Send + Sync + 'a;

/// What becomes of a tag that is to point somewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// It does already, and it is a package's: it stays one, so that moving it still needs the right to.
    Keep,
    /// It is written.
    Write,
    /// It is written if the caller may move what a package publishes.
    Ask,
}

/// `there` is what it points at, unless that is damaged.
fn step(there: Option<&TagTarget>, wanted: &TagTarget) -> Step {
    match there {
        Some(there) if there.pushed => Step::Write,
        Some(there) if there.digest == wanted.digest => Step::Keep,
        // A damaged tag may be a package's.
        _ => Step::Ask,
    }
}

impl Images {
    /// Fails if a tag is a package's that the caller may not move. Said before anything is written; decided when the tag is.
    pub(super) async fn check_move(
        &self,
        repository: &Repository,
        tag: &Tag,
        wanted: &TagTarget,
        may_move: &MayMove<'_>,
    ) -> Result<(), ImageError> {
        let there = self.small::<TagTarget>(&keys::tag(repository, tag)).await?;
        if there.is_some_and(|(there, _)| step(there.as_ref(), wanted) == Step::Ask) {
            may_move().await?;
        }
        Ok(())
    }

    /// Points a tag at a manifest. Of several at the same time the last one wins.
    pub(super) async fn point(
        &self,
        repository: &Repository,
        tag: &Tag,
        wanted: &TagTarget,
        may_move: &MayMove<'_>,
    ) -> Result<(), ImageError> {
        let key = keys::tag(repository, tag);
        let bytes = document::write(&key, wanted)?;
        let mut condition = Condition::Absent;
        for _ in 0..ATTEMPTS {
            match self.storage().put(&key, bytes.clone(), condition).await {
                Ok(_) => return Ok(()),
                Err(StorageError::ConditionFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            condition = match self.small::<TagTarget>(&key).await? {
                None => Condition::Absent,
                Some((there, version)) => {
                    match step(there.as_ref(), wanted) {
                        Step::Keep => return Ok(()),
                        Step::Ask => may_move().await?,
                        Step::Write => {}
                    }
                    Condition::Unchanged(version)
                }
            };
        }
        Err(ImageError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(digest: &str, pushed: bool) -> TagTarget {
        TagTarget { digest: digest.into(), media_type: "m".into(), size: 1, pushed }
    }

    #[test]
    fn what_a_package_publishes_is_moved_only_by_who_may_update() {
        assert_eq!(step(Some(&target("a", false)), &target("b", true)), Step::Ask);
        assert_eq!(step(None, &target("b", true)), Step::Ask);
    }

    #[test]
    fn a_push_of_what_is_there_does_not_make_a_packages_tag_its_own() {
        assert_eq!(step(Some(&target("a", false)), &target("a", true)), Step::Keep);
    }

    #[test]
    fn what_pushes_made_pushes_move() {
        assert_eq!(step(Some(&target("a", true)), &target("b", true)), Step::Write);
    }
}
