//! `make bench`: figures that the project answers for, each beside what it is compared with, taken in turn in one run.

mod ready;

use std::process::ExitCode;

use e2e::{
    cluster::Cluster,
    walk::{self, Delivery},
};
use snafu::{ResultExt as _, Whatever};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every row; false when one misses its mark.
fn run() -> Result<bool, Whatever> {
    let cluster = Cluster::connect().whatever_context("no cluster")?;
    let image = walk::operator_image(&Delivery::for_cluster(&cluster)?)?;
    walk::install(&cluster, &image, &[])?;
    println!("| what | this project, s | compared with, s | difference, s | mark | |\n|---|---|---|---|---|---|");
    let row = ready::measure(&cluster, &image)?;
    println!("{row}");
    Ok(row.passes())
}
