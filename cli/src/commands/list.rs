//! `list`: the catalogue.

use api::{PackageInfo, PackageList};
use clap::Args;

use crate::connection::Target;
use crate::failure::Failure;
use crate::output::{Json, Output};
use crate::runtime::runtime;
use crate::size::Size;
use crate::table::table;

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// Asks and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let list = runtime()?.block_on(async {
        let connection = arguments.target.connect().await?;
        Ok::<_, Failure>(connection.api.packages().await?)
    })?;
    Ok(Output::from(arguments.json).result(text(&list), &list)?)
}

fn text(list: &PackageList) -> String {
    if list.packages.is_empty() {
        return "There are no packages.\n".to_owned();
    }
    let row = |package: &PackageInfo| {
        let release = package.release_version.map(|number| number.to_string());
        let size = package.size.map(|bytes| Size(bytes).to_string());
        [
            package.name.clone(),
            package.version.clone(),
            release.unwrap_or_default(),
            format!("{:?}", package.status),
            size.unwrap_or_default(),
            package.added_at.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = list.packages.iter().map(row).collect();
    table(["NAME", "VERSION", "RELEASE", "STATUS", "SIZE", "ADDED"], &rows)
}
