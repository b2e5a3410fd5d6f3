//! How far a transfer is: one bar in bytes on a terminal, a line now and then elsewhere. Always on standard error.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::message;
use crate::size::Size;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// A transfer that is going on. Several threads may tell it of what they did; it never goes back.
#[derive(Debug)]
pub struct Transfer {
    label: String,
    counted: Mutex<Counted>,
    bar: Option<ProgressBar>,
}

#[derive(Debug)]
struct Counted {
    done: u64,
    total: u64,
    said: Instant,
    long: bool,
}

impl Transfer {
    /// Starts one of so many bytes. The label says what is transferred: `File Upload progress`.
    pub fn start(label: &str, total: u64) -> Self {
        let counted = Counted { done: 0, total, said: Instant::now(), long: false };
        let bar = io::stderr().is_terminal().then(|| bar(label, total));
        Self { label: label.to_owned(), counted: Mutex::new(counted), bar }
    }

    /// So many more bytes are there.
    pub fn advance(&self, bytes: u64) {
        let Ok(mut counted) = self.counted.lock() else { return };
        counted.done = counted.done.saturating_add(bytes).min(counted.total);
        if let Some(bar) = &self.bar {
            bar.set_position(counted.done);
        } else if counted.said.elapsed() >= PAUSE {
            counted.said = Instant::now();
            counted.long = true;
            self.say(&counted);
        }
    }

    /// It has ended: the bar stays as it is now; where lines were printed, a last one is.
    pub fn finish(self) {
        let Ok(counted) = self.counted.lock() else { return };
        match &self.bar {
            Some(bar) => bar.abandon(),
            None if counted.long => self.say(&counted),
            None => {}
        }
    }

    /// It has ended, and somebody else says so: the bar goes.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, counted: &Counted) {
        message(&format!("{}: {}/{}", self.label, Size(counted.done), Size(counted.total)));
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let size = |bytes: u64, out: &mut dyn std::fmt::Write| {
        // A failing writer is indicatif's own string.
        let _ = write!(out, "{}", Size(bytes));
    };
    let style = ProgressStyle::with_template("{prefix}: [{bar:38}] {done}/{total} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("done", move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| size(state.pos(), out))
        .with_key("total", move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            size(state.len().unwrap_or_default(), out);
        })
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(label.to_owned())
}
