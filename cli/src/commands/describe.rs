//! `describe`: where a package is on its way into the catalogue, and what it has.

use std::fmt::Write as _;

use api::PackageInfo;
use clap::Args;

use crate::connection::Target;
use crate::coordinate::Coordinate;
use crate::failure::Failure;
use crate::output::{Json, Output};
use crate::runtime::runtime;
use crate::size::Size;

/// Arguments of `describe`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    package: Coordinate,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// Asks and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Coordinate { name, version } = &arguments.package;
    let found = runtime()?.block_on(async {
        let connection = arguments.target.connect().await?;
        Ok::<_, Failure>(connection.api.package(name, version).await?)
    })?;
    let package = arguments.package.known(found)?;
    Ok(Output::from(arguments.json).result(text(&package), &package)?)
}

fn text(package: &PackageInfo) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            // A String takes everything.
            let _ = writeln!(text, "{:<18} {value}", format!("{label}:"));
        }
    };
    line("Name", Some(package.name.clone()));
    line("Version", Some(package.version.clone()));
    line("Status", Some(format!("{:?}", package.status)));
    line("Message", package.message.clone());
    line("Release version", package.release_version.map(|number| number.to_string()));
    line("Packaging version", package.packaging_version.clone());
    line("Added at", package.added_at.clone());
    line("Size", package.size.map(|bytes| Size(bytes).to_string()));
    line("Digest", package.digest.clone());
    let object =
        package.declared_by.as_ref().map_or_else(|| "a Package object".to_owned(), |by| format!("Package {by}"));
    line("Kept by", package.managed_by.as_ref().map(|id| format!("{object} (declaration {id})")));
    line("Removal", package.removal_requested.then(|| "asked for".to_owned()));
    for image in &package.images {
        line("Image", Some(format!("{} ({})", image.reference, image.platforms.join(", "))));
    }
    text
}
