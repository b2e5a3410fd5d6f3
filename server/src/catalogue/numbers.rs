//! Release versions: who has which number of a name.
//!
//! Instances agree by claims that are written once, `releases/<name>/<number>`. A claim holds a number from before the entry
//! is written until the entry is gone; one without an entry is collected.

use serde::{Deserialize, Serialize};

use super::Catalogue;
use super::entry::LINK_LIMIT;
use super::publish::{NumbersTakenSnafu, PublishError, json};
use crate::names::{CoordinateCode, PackageName};
use crate::storage::keys::{self, Place};
use crate::storage::{Condition, StorageError, for_each_object};

/// How often a number is claimed that somebody else claims at the same time.
const ATTEMPTS: usize = 64;

/// The release version that a package is to get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Number {
    /// This one.
    Exactly(u64),
    /// This one, raised by one until it is above that of every other version of the name.
    From(u64),
}

/// What a claim holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Claim {
    /// Code of the name and version that it is for. Whoever publishes that may use the claim, so that one whose answer was
    /// lost, or that a damaged entry left, costs no number.
    coordinate: String,
}

impl Catalogue {
    /// Claims a number. `highest` is that of the entries of the name, the coordinate's own left out.
    ///
    /// # Errors
    /// A store that fails, or others that were always quicker.
    pub(super) async fn claim(
        &self,
        number: Number,
        name: &PackageName,
        code: &CoordinateCode,
        highest: Option<u64>,
    ) -> Result<u64, PublishError> {
        let from = match number {
            // Whoever decides knows what they do; the claim tells others of it.
            Number::Exactly(number) => {
                self.try_claim(name, number, code).await?;
                return Ok(number);
            }
            Number::From(from) => from,
        };
        for _ in 0..ATTEMPTS {
            let taken = self.highest_of_others(name, code).await?.max(highest);
            let number = from.max(taken.map_or(0, |taken| taken.saturating_add(1)));
            if self.try_claim(name, number, code).await? {
                return Ok(number);
            }
        }
        NumbersTakenSnafu { name: name.to_string() }.fail()
    }

    /// The highest number of a name that is claimed for another version.
    async fn highest_of_others(&self, name: &PackageName, code: &CoordinateCode) -> Result<Option<u64>, StorageError> {
        let mut claimed = Vec::new();
        for_each_object(self.storage().as_ref(), &keys::releases(name), |key, _| {
            if let Some(Place::Release(_, number)) = Place::of(&key) {
                claimed.push(number);
            }
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        claimed.sort_unstable();
        while let Some(number) = claimed.pop() {
            match self.storage().get(&keys::release(name, number), LINK_LIMIT).await {
                Ok((claim, _)) if is_for(&claim, code) => {}
                Err(error) if error.is_not_found() => {}
                Ok(_) | Err(StorageError::TooLarge { .. }) => return Ok(Some(number)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Claims this number; false if it is claimed for another version.
    async fn try_claim(&self, name: &PackageName, number: u64, code: &CoordinateCode) -> Result<bool, PublishError> {
        let claim = json(&Claim { coordinate: code.to_string() })?;
        let key = keys::release(name, number);
        match self.storage().put(&key, claim, Condition::Absent).await {
            Ok(_) => Ok(true),
            Err(StorageError::ConditionFailed { .. }) => match self.storage().get(&key, LINK_LIMIT).await {
                // Made new, so that nobody takes it for left over.
                Ok((there, _)) if is_for(&there, code) => Ok(self.storage().renew(&key).await?),
                Ok(_) => Ok(false),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn is_for(claim: &[u8], code: &CoordinateCode) -> bool {
    serde_json::from_slice(claim).is_ok_and(|claim: Claim| claim.coordinate == code.as_str())
}
