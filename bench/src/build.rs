//! `build` of a package with thirty images, beside skopeo, and what memory it needs.

use std::{fs, path::Path, process::Command};

use snafu::{ResultExt as _, Whatever};

use crate::{
    images::{Image, Layer},
    package,
    programs::{Programs, Serving, folder, peak, timed, warm},
    row::{Mark, Row, median_seconds},
};

const ROUNDS: usize = 5;
const MIB: u64 = 1 << 20;

/// Thirty images of 1 GiB together, of which 25 share four layers: what the last five bring alone is 360 MiB.
pub fn thirty() -> Vec<Image> {
    let shared = (0..4).map(|seed| Layer { seed, size: 100 * MIB });
    let image = |index: u64| {
        let own = |size| Layer { seed: 1000 + index, size };
        let layers = if index < 25 { shared.clone().chain([own(10 * MIB)]).collect() } else { vec![own(72 * MIB)] };
        Image { name: format!("measured/image-{index}:1"), layers }
    };
    (0..30).map(image).collect()
}

/// Time.
pub fn rows() -> Result<Vec<Row>, Whatever> {
    let (programs, images, folder) = (Programs::ensure()?, thirty(), folder()?);
    let (registry, cli) = (programs.registry_of(&images)?, &programs.cli);
    let definition = package::define(cli, folder.path(), "1", &images, &registry)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let take_turns = |turn: usize| (turn + round).is_multiple_of(2);
        for turn in 0..2 {
            let output = folder.path().join("output");
            fs::create_dir(&output).whatever_context("cannot make a folder")?;
            warm(2 * 1024 * MIB)?;
            if take_turns(turn) {
                ours.push(timed(&mut package::build(cli, &definition, &output))?);
            } else {
                theirs.push(timed(&mut copy_all(&registry, &images, &output))?);
            }
            fs::remove_dir_all(&output).whatever_context("cannot remove a folder")?;
        }
        eprintln!("round {}: build {:.2?}, skopeo copy {:.2?}", round + 1, ours[round], theirs[round]);
    }
    Ok(vec![Row {
        what: format!("build of 1 GiB in 30 images, beside skopeo copy of them to a layout, median of {ROUNDS}"),
        unit: "s",
        ours: median_seconds(&ours),
        other: median_seconds(&theirs),
        mark: Mark::Most(1.2),
    }])
}

/// All images, one after the other, into one layout: skopeo copies one at a time.
fn copy_all(registry: &Serving, images: &[Image], output: &Path) -> Command {
    let copies: Vec<String> = images
        .iter()
        .map(|Image { name, .. }| {
            let (from, to) = (registry.address(), output.display());
            format!("skopeo copy --quiet --src-tls-verify=false docker://{from}/{name} oci:{to}/layout:{name}")
        })
        .collect();
    let mut command = Command::new("sh");
    command.arg("-c").arg(copies.join(" && "));
    command
}

/// Peak memory, of packages that differ in nothing but bytes.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
pub fn memory_rows() -> Result<Vec<Row>, Whatever> {
    let programs = Programs::ensure()?;
    let mut peaks = Vec::new();
    for size in [40_000_000, 400_000_000] {
        let layers = (0..10).map(|seed| Layer { seed, size }).collect();
        let images = [Image { name: "measured/large:1".into(), layers }];
        let (registry, folder) = (programs.registry_of(&images)?, folder()?);
        let definition = package::define(&programs.cli, folder.path(), "1", &images, &registry)?;
        peaks.push(peak(&mut package::build(&programs.cli, &definition, folder.path()))? as f64 / 1e6);
    }
    Ok(vec![Row {
        what: "peak memory of build of 4 GB in ten layers, beside that of 400 MB in ten".into(),
        unit: "MB",
        ours: peaks[1],
        other: peaks[0],
        mark: Mark::Most(1.1),
    }])
}
