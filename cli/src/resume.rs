//! Downloads that go on where they stopped: after a cut connection, and in the next call of the program.

use std::io;

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use snafu::{ResultExt, Snafu, ensure};

use crate::cache::Partial;
use crate::http::{ATTEMPTS, RequestError, Transient};

/// Why a download did not come to its end.
#[derive(Debug, Snafu)]
pub enum ResumeError {
    /// The server, or the way to it.
    #[snafu(display("{source}"))]
    Request {
        /// Why.
        source: RequestError,
    },
    /// The disk.
    #[snafu(display("the cache can't be written: {source}"))]
    Store {
        /// Why.
        source: io::Error,
    },
    /// More than there should be.
    #[snafu(display("the answer has more than the {size} bytes that were announced"))]
    TooLong {
        /// What was announced.
        size: u64,
    },
}

/// Downloads the rest of a file. `ask` requests it from an offset on, and gives an answer with status 200, 206 or 416;
/// `size` is how long the file must be, where that is known; `advance` is told of bytes that were not there before.
pub async fn fill(
    partial: &mut Partial,
    size: Option<u64>,
    ask: impl AsyncFn(u64) -> Result<Response, RequestError>,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(), ResumeError> {
    let mut reached = partial.size();
    // Attempts in a row that brought nothing new.
    let mut futile = 0;
    while size != Some(partial.size()) {
        let before = reached;
        let cut = match ask(partial.size()).await {
            Ok(answer) => match receive(partial, answer, size, &mut reached, advance).await? {
                None => return Ok(()),
                Some(cut) => cut,
            },
            Err(error) => error,
        };
        futile = if reached > before { 0 } else { futile + 1 };
        match cut.pause(futile) {
            Some(pause) if futile < ATTEMPTS => tokio::time::sleep(pause).await,
            _ => return Err(cut).context(RequestSnafu),
        }
    }
    Ok(())
}

/// Takes one answer. `None`: the file is whole.
async fn receive(
    partial: &mut Partial,
    mut answer: Response,
    size: Option<u64>,
    reached: &mut u64,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Option<RequestError>, ResumeError> {
    let range = ContentRange::of(&answer);
    match answer.status() {
        StatusCode::RANGE_NOT_SATISFIABLE if range.total == Some(partial.size()) && size.is_none() => return Ok(None),
        StatusCode::PARTIAL_CONTENT if range.start == Some(partial.size()) => {}
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            partial.clear().context(StoreSnafu)?;
            let reason = "the answer does not go on where the download stopped".to_owned();
            return Ok(Some(RequestError::Cut { reason }));
        }
        _ => partial.clear().context(StoreSnafu)?,
    }
    let announced = size.or_else(|| answer.content_length().map(|rest| partial.size() + rest));
    loop {
        let chunk = match answer.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => return Ok(Some(error.into())),
        };
        if let Some(size) = announced {
            ensure!(partial.size() + chunk.len() as u64 <= size, TooLongSnafu { size });
        }
        partial.append(&chunk).context(StoreSnafu)?;
        if partial.size() > *reached {
            advance(partial.size() - *reached);
            *reached = partial.size();
        }
    }
    let short = announced.is_some_and(|size| partial.size() < size);
    Ok(short.then(|| RequestError::Cut { reason: "the answer ended too early".to_owned() }))
}

/// `Content-Range: bytes 5-9/10`, or `bytes */10`.
#[derive(Debug, Default, Eq, PartialEq)]
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn of(answer: &Response) -> Self {
        let value = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        value.map(Self::parse).unwrap_or_default()
    }

    fn parse(value: &str) -> Self {
        let Some((range, total)) = value.strip_prefix("bytes ").and_then(|value| value.split_once('/')) else {
            return Self::default();
        };
        let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
        Self { start, total: total.parse().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_answers_are_read() {
        let range = |start, total| ContentRange { start, total };
        assert_eq!(ContentRange::parse("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(ContentRange::parse("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(ContentRange::parse("bytes */10"), range(None, Some(10)));
        assert_eq!(ContentRange::parse("lines 1-2/3"), range(None, None));
        assert_eq!(ContentRange::parse(""), range(None, None));
    }
}
