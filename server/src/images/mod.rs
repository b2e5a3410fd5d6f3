//! Images that clients push: between `/v2/` and the store.
//!
//! A blob or manifest is served by a repository that links it ([`links`]). What a push links is marked as pushed, so that
//! it stays when a package that has it too is withdrawn, and the other way round.

mod error;
mod links;
pub mod manifest;
mod owner;
mod push;
mod referrers;
mod remove;
mod tags;
mod upload;

pub use error::ImageError;
pub use push::{Accepted, MANIFEST_LIMIT, Named};
pub use referrers::Referrers;
pub use tags::MayMove;
pub use upload::Span;

use crate::catalogue::Catalogue;
use crate::storage::Storage;

/// The images of one store.
#[derive(Clone)]
pub struct Images {
    catalogue: Catalogue,
}

impl Images {
    /// The images beside a catalogue of packages.
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }

    fn storage(&self) -> &dyn Storage {
        self.catalogue.storage().as_ref()
    }
}
