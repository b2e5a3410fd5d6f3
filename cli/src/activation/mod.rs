//! Making a registry: what is asked for becomes an object, the operator is brought where it is missing, and what the operator
//! says is waited for.

mod install;
mod options;
mod schema;
mod wait;

use std::time::Duration;

pub use install::install_if_missing;
pub use options::{Plan, plan};
pub use schema::options_schema;
pub use wait::until_ready;

/// Between two looks at what the operator does.
const PAUSE: Duration = Duration::from_secs(1);
/// Field manager of what this command applies.
pub const FIELD_MANAGER: &str = "dcos-registry";
