//! Results on standard output, messages on standard error.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// The argument that every command with a result has.
#[derive(Args, Clone, Copy, Debug)]
pub struct Json {
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Where a command says what it does and what came out.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl From<Json> for Output {
    fn from(Json { json }: Json) -> Self {
        Self { json }
    }
}

impl Output {
    /// `json`: standard output gets the result as one JSON document and nothing else.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line about what is going on, of those that scripts know from standard output.
    pub fn line(self, text: &str) -> io::Result<()> {
        if self.json {
            message(text);
            Ok(())
        } else {
            writeln!(io::stdout(), "{text}")
        }
    }

    /// The result: as a text, which brings its line ends, or as a document.
    pub fn result(self, text: impl Display, document: &impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, document)?;
            writeln!(out)
        } else {
            write!(out, "{text}")
        }
    }

    /// The file that came out: `what` and its path, or an object with the path as `name`.
    pub fn created(self, what: &str, path: &Path) -> io::Result<()> {
        let path = path.display();
        self.result(format_args!("Created {what} {path}\n"), &json!({"name": path.to_string()}))
    }
}

/// A line on standard error. Nobody is left to be told when that fails.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A warning on standard error.
pub fn warning(text: &str) {
    labelled("Warning", AnsiColor::Yellow, text);
}

/// Why the command failed, on standard error.
pub fn error(text: &str) {
    labelled("Error", AnsiColor::Red, text);
}

/// Colours only on a terminal, and not with `NO_COLOR`; anstream takes them out otherwise.
fn labelled(label: &str, color: AnsiColor, text: &str) {
    let style = Style::new().bold().fg_color(Some(color.into()));
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {text}");
}
