//! How a command ends when it does not succeed.

use clap::error::ErrorKind;

/// Why a command did not do what was asked.
///
/// It is no `std::error::Error` itself, so that `?` takes every error of a command.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and did not work: exit code 1.
    Failed {
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The command line is wrong, or asks for help or the version: exit code 2, or 0.
    Usage {
        /// What clap says, with the usage.
        error: clap::Error,
    },
}

impl Failure {
    /// Wrong usage that only shows when arguments are looked at together.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        let mut message = message.to_string();
        message.push('\n');
        Self::Usage { error: clap::Error::raw(ErrorKind::ValueValidation, message) }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed { message: error.to_string() }
    }
}
