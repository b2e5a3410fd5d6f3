//! `make bench`: figures that the project answers for, each beside what it is compared with, taken in turn in one run.
//!
//! `bench [build] [memory] [add] [serving] [ready]` measures these alone.

mod add;
mod build;
mod images;
mod link;
mod load;
mod package;
mod programs;
mod ready;
mod row;
mod serving;

use std::process::ExitCode;

use snafu::{Whatever, whatever};

use crate::row::Row;

type Measure = fn() -> Result<Vec<Row>, Whatever>;

/// What can be measured, by name.
const MEASURES: [(&str, Measure); 5] = [
    ("build", build::rows),
    ("memory", build::memory_rows),
    ("add", add::rows),
    ("serving", serving::rows),
    ("ready", ready::rows),
];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what is named, or everything; false when a figure misses its mark.
fn run(names: &[String]) -> Result<bool, Whatever> {
    if let Some(unknown) = names.iter().find(|name| !MEASURES.iter().any(|(known, _)| known == name)) {
        let known = MEASURES.map(|(name, _)| name).join(", ");
        whatever!("{unknown} is nothing to measure; {known} are");
    }
    let mut rows = Vec::new();
    for (name, measure) in MEASURES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            rows.extend(measure()?);
        }
    }
    println!("{}", row::HEAD);
    for row in &rows {
        println!("{row}");
    }
    Ok(rows.iter().all(Row::passes))
}
