//! Universe documents: a package's metadata and its form in a repository document.

mod addresses;
mod dcos_version;
mod metadata;
mod repository;
mod schema;

pub use addresses::{content_hashes, file_addresses, rewrite_files, rewrite_images};
pub use dcos_version::DcosVersion;
pub use metadata::{Metadata, MetadataError, image_references};
pub use repository::{Addresses, RepositoryVersion, Shape, needed_version, repository_package};
pub use schema::{Form, PACKAGING_VERSIONS, Violation, check, entry_path, is_file_name, is_package_name, resource};
