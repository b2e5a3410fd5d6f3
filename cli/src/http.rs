//! What all requests share: when to try again, and how to say what went wrong.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use snafu::Snafu;

/// Nothing of a connection or of an answer's next bytes for so long: it is dead.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How we introduce ourselves.
pub const USER_AGENT: &str = concat!("dcos-registry/", env!("CARGO_PKG_VERSION"));
/// Attempts in a row that bring nothing new, where somebody waits for an answer: about three seconds.
pub const ATTEMPTS: u32 = 5;
/// Attempts in a row that bring nothing new, where giving up would lose what was done: a server that restarts is waited for,
/// about a minute.
pub const PATIENT_ATTEMPTS: u32 = 9;
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Between two questions about something that somebody else does, at first and at last.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(2);
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An error after which another attempt may help.
pub trait Transient {
    /// The pause before the next attempt, the first being 1; none when another attempt would not help.
    fn pause(&self, attempt: u32) -> Option<Duration>;
}

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
        Self::Status { status: answer.status(), detail, pause: asked_pause(answer.headers()) }
    }
}

impl Transient for RequestError {
    fn pause(&self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Transport { source } => after_transport(source, attempt),
            Self::Status { status, pause, .. } => after_status(*status, *pause, attempt),
            Self::Cut { .. } => Some(backoff(attempt)),
            Self::Refused { .. } => None,
        }
    }
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport { source: error.without_url() }
    }
}

/// The pause after an attempt, the first being 1, that was in vain.
pub fn backoff(attempt: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(attempt.saturating_sub(1))
}

/// The pause after an attempt without an answer.
pub fn after_transport(error: &reqwest::Error, attempt: u32) -> Option<Duration> {
    (!error.is_builder() && !error.is_redirect()).then(|| backoff(attempt))
}

/// The pause after an attempt that was answered with an error, where the server may have `asked` for one.
pub fn after_status(status: StatusCode, asked: Option<Duration>, attempt: u32) -> Option<Duration> {
    is_transient(status).then(|| asked.unwrap_or_else(|| backoff(attempt)))
}

/// Whether the same request may succeed later. What a server can't do at all, or has no space for, it won't do then either.
pub fn is_transient(status: StatusCode) -> bool {
    let lasting = matches!(
        status,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED | StatusCode::INSUFFICIENT_STORAGE
    );
    (status.is_server_error() && !lasting)
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The pause that a server asks for, if it does in seconds, and at most half a minute.
pub fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// Asks until there is an answer, an error that another attempt would not help, or the last of so many attempts.
pub async fn repeat<T, E: Transient>(attempts: u32, mut ask: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        match ask().await {
            Err(error) => match error.pause(attempt) {
                Some(pause) if attempt < attempts => tokio::time::sleep(pause).await,
                _ => return Err(error),
            },
            answer => return answer,
        }
        attempt += 1;
    }
}

/// Pauses between questions about something that somebody else does: short ones at first, then longer ones.
pub fn polling() -> impl Iterator<Item = Duration> {
    let longer = |pause: &Duration| Some((*pause * 3 / 2).min(LONGEST_POLL));
    std::iter::successors(Some(FIRST_POLL), longer)
}

/// An error with all its causes: the client's own words say little.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_as_long_apart_as_the_constants_say() {
        let waited = |attempts: u32| (1..attempts).map(backoff).sum::<Duration>();
        assert_eq!(waited(ATTEMPTS), Duration::from_secs(3));
        assert_eq!(waited(PATIENT_ATTEMPTS), Duration::from_secs(51));
    }

    #[test]
    fn only_what_may_be_better_later_is_asked_again() {
        let asked = Some(Duration::from_secs(7));
        for (status, pause) in
            [(503, asked), (522, asked), (429, asked), (408, asked), (404, None), (501, None), (507, None)]
        {
            assert_eq!(after_status(StatusCode::from_u16(status).unwrap(), asked, 1), pause, "{status}");
        }
        assert_eq!(after_status(StatusCode::BAD_GATEWAY, None, 3), Some(Duration::from_millis(800)));
    }

    #[test]
    fn a_server_may_ask_for_a_pause_but_not_for_a_long_one() {
        let pause = |value: &'static str| asked_pause(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(pause("0"), Some(Duration::ZERO));
        assert_eq!(pause("3600"), Some(LONGEST_PAUSE));
        assert_eq!(pause("Thu, 26 Nov 2026 00:00:00 GMT"), None);
        assert_eq!(asked_pause(&HeaderMap::new()), None);
    }
}
