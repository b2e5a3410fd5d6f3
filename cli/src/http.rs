//! What downloads of all kinds share: when to try again, and how to say what went wrong.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use snafu::Snafu;

/// Nothing of a connection or of an answer's next bytes for so long: it is dead.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How we introduce ourselves.
pub const USER_AGENT: &str = concat!("dcos-registry/", env!("CARGO_PKG_VERSION"));
/// Attempts in a row that bring nothing new.
pub const ATTEMPTS: u32 = 5;
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a request had no useful answer. The one who asked knows the address.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum RequestError {
    /// No answer, or not to its end.
    #[snafu(display("{}", chain(source)))]
    Transport {
        /// Why, without the address: it may have credentials in it.
        source: reqwest::Error,
    },
    /// An answer that is of no use.
    #[snafu(display("the answer is {status}, must be 200{detail}"))]
    Status {
        /// What came.
        status: StatusCode,
        /// What the server says about it, if anything.
        detail: String,
        /// How long the server asks to wait.
        pause: Option<Duration>,
    },
    /// An answer that ended before its end, or does not go on where it should.
    #[snafu(display("{reason}"))]
    Cut {
        /// How.
        reason: String,
    },
    /// Something that won't be better the next time.
    #[snafu(display("{reason}"))]
    Refused {
        /// What, and what would be right.
        reason: String,
    },
}

impl RequestError {
    /// An answer that is of no use.
    pub fn status(answer: &Response, detail: String) -> Self {
        let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let pause = seconds.map(Duration::from_secs).map(|pause| pause.min(LONGEST_PAUSE));
        Self::Status { status: answer.status(), detail, pause }
    }

    /// The pause before the next attempt, the first being 1; none when another attempt would not help.
    pub fn pause(&self, attempt: u32) -> Option<Duration> {
        let usual = Duration::from_millis(200) * 2_u32.saturating_pow(attempt.saturating_sub(1));
        match self {
            Self::Transport { source } if source.is_builder() || source.is_redirect() => None,
            Self::Transport { .. } | Self::Cut { .. } => Some(usual),
            Self::Status { status, pause, .. }
                if status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) =>
            {
                Some(pause.unwrap_or(usual))
            }
            Self::Status { .. } | Self::Refused { .. } => None,
        }
    }
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport { source: error.without_url() }
    }
}

/// Asks until there is an answer, or an error that another attempt would not help.
pub async fn repeat<T>(ask: impl AsyncFn() -> Result<T, RequestError>) -> Result<T, RequestError> {
    let mut attempt = 1;
    loop {
        match ask().await {
            Err(error) => match error.pause(attempt) {
                Some(pause) if attempt < ATTEMPTS => tokio::time::sleep(pause).await,
                _ => return Err(error),
            },
            answer => return answer,
        }
        attempt += 1;
    }
}

/// An error with all its causes: the client's own words say little.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
