//! What can go wrong while a cluster is brought up, used or taken down.

use std::{path::PathBuf, time::Duration};

use snafu::Snafu;

/// The result of everything in this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step failed; the message says what would help.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// The machine is not one that the cluster can run on.
    #[snafu(display("{what}\nOr use a cluster that runs already: set KUBECONFIG to the path of its kubeconfig file."))]
    Prerequisite {
        /// What is missing and how to get it.
        what: String,
    },

    /// Somebody else than root wants to take the cluster down.
    #[snafu(display("Only root can take the cluster down."))]
    NotRoot,

    /// A file or folder could not be read or written.
    #[snafu(display("cannot {act} {}: {source}", path.display()))]
    File {
        /// A verb: `read`, `write`, `create`, …
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A command could not be started.
    #[snafu(display("cannot start `{command}`: {source}"))]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },

    /// A command ended with another status than 0.
    #[snafu(display("`{command}` failed ({status}): {stderr}"))]
    Command {
        /// The command line.
        command: String,
        /// The exit status in words.
        status: String,
        /// What it wrote to its standard error.
        stderr: String,
    },

    /// Something did not happen in time.
    #[snafu(display("{what} did not happen within {} s: {last}", after.as_secs()))]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last.
        last: String,
    },

    /// A daemon ended by itself.
    #[snafu(display("{name} ended; the end of its log {}:\n{tail}", log.display()))]
    DaemonEnded {
        /// Which one.
        name: String,
        /// Its whole log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// Something that should be JSON is not.
    #[snafu(display("{what} is not the JSON that is expected: {source}"))]
    Json {
        /// What was read.
        what: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },

    /// A key or certificate could not be made.
    #[snafu(display("cannot make the certificate of {name}: {source}"))]
    Certificate {
        /// Whose.
        name: String,
        /// Why.
        source: rcgen::Error,
    },

    /// An image archive could not be written.
    #[snafu(display("cannot write the image of {name}: {source}"))]
    ImageArchive {
        /// Which image.
        name: String,
        /// Why.
        source: crate::image::Error,
    },

    /// What was asked for works on the project's own cluster only.
    #[snafu(display(
        "{what} works on the project's own cluster only, and KUBECONFIG names another or none runs; `make cluster-up` starts it"
    ))]
    NotOurs {
        /// What was asked for.
        what: String,
    },

    /// No node of that name.
    #[snafu(display("there is no node {name:?}; the nodes are node1 and node2"))]
    NoSuchNode {
        /// The name that was given.
        name: String,
    },
}
