//! `add` of a package of which the registry has most, over a link of 20 MB/s.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use snafu::{OptionExt as _, Whatever};

use crate::{
    build::thirty,
    images::Image,
    link::Link,
    package::{self, registry_command},
    programs::{Programs, Serving, folder, output, timed},
    row::{Mark, Row},
};

const BYTES_PER_SECOND: f64 = 20e6;

/// Time, and bytes.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
pub fn rows() -> Result<Vec<Row>, Whatever> {
    let (programs, folder) = (Programs::ensure()?, folder()?);
    let [first, second] = bundles(&programs, folder.path())?;
    let Programs { server, cli } = &programs;
    let difference = package::answer(registry_command(cli, "diff").arg(&first).arg(&second))?;
    let missing = difference["addedBytes"].as_u64().whatever_context("diff says no bytes")? as f64;

    let registry = Serving::ours(server)?;
    output(&mut add(cli, &first, &registry.address().to_string()))?;
    let link = Link::to(registry.address(), BYTES_PER_SECOND)?;
    let time: Duration = timed(&mut add(cli, &second, &link.address().to_string()))?;
    let what = format!("add of a package of which {:.0} MB are missing, over 20 MB/s", missing / 1e6);
    Ok(vec![
        Row {
            what: format!("{what}, beside what the link takes for these"),
            unit: "s",
            ours: time.as_secs_f64(),
            other: missing / BYTES_PER_SECOND,
            mark: Mark::Most(1.1),
        },
        Row {
            what: format!("{what}: bytes sent, beside those missing"),
            unit: "MB",
            ours: link.sent() as f64 / 1e6,
            other: missing / 1e6,
            mark: Mark::Most(1.1),
        },
    ])
}

/// Version 1 with the images that share layers, version 2 with all of them.
fn bundles(programs: &Programs, folder: &Path) -> Result<[PathBuf; 2], Whatever> {
    let (images, cli) = (thirty(), &programs.cli);
    let registry = programs.registry_of(&images)?;
    let bundle = |version: &str, images: &[Image]| {
        let definition = package::define(cli, folder, version, images, &registry)?;
        package::created(&mut package::build(cli, &definition, folder))
    };
    Ok([bundle("1", &images[..25])?, bundle("2", &images)?])
}

fn add(cli: &Path, bundle: &Path, address: &str) -> Command {
    let mut command = registry_command(cli, "add");
    command.arg(format!("--dcos-file={}", bundle.display())).arg("--wait").arg(format!("--url=http://{address}"));
    command
}
