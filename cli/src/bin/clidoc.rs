//! Writes `docs/cli.md` below a folder: `clidoc FOLDER`.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("usage: clidoc FOLDER (the project's root)")?;
    Ok(fs::write(Path::new(&root).join("docs/cli.md"), cli::reference_page())?)
}
