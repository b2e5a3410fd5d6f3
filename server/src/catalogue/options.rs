//! How a catalogue behaves.

use std::time::Duration;

use clap::ValueEnum;

/// What happens when other content is published under a name and version.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It takes the place of what is there.
    Replace,
}

/// How a catalogue behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// What happens when other content is published under a name and version.
    pub on_conflict: OnConflict,
    /// How long what nobody needs is left alone: who has just brought it may be about to need it.
    pub grace_period: Duration,
    /// Whether a collection only counts.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { on_conflict: OnConflict::default(), grace_period: Duration::from_hours(1), dry_run: false }
    }
}
