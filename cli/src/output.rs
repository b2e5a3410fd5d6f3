//! Results on standard output, messages on standard error.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

/// Where a command says what it does and what came out.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: standard output gets the result as one JSON document and nothing else.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line about what is going on.
    pub fn line(self, text: &str) -> io::Result<()> {
        if self.json {
            message(text);
            Ok(())
        } else {
            writeln!(io::stdout(), "{text}")
        }
    }

    /// The file that came out: `what` and its path, or an object with the path as `name`.
    pub fn created(self, what: &str, path: &Path) -> io::Result<()> {
        let path = path.display();
        if self.json {
            writeln!(io::stdout(), "{}", json!({"name": path.to_string()}))
        } else {
            writeln!(io::stdout(), "Created {what} {path}")
        }
    }
}

/// A line on standard error. Nobody is left to be told when that fails.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
