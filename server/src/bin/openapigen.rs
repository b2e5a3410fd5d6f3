//! Writes the `OpenAPI` document of `/api/v1`: `openapigen FOLDER` writes `docs/openapi.json` below it.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("usage: openapigen FOLDER (the project's root)")?;
    let text = serde_json::to_string_pretty(&server::http::openapi::document())?;
    fs::write(Path::new(&root).join("docs/openapi.json"), text + "\n")?;
    Ok(())
}
