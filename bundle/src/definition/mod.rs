//! Build definitions: one JSON document from which a bundle is built, made by hand or from a package directory.

mod error;
mod location;
mod migrate;
mod read;

pub use error::DefinitionError;
pub use location::{Location, LocationError, file_name, without_credentials};
pub use migrate::{Migrated, migrate};
pub use read::Definition;
