//! Bodies of HTTP answers, read up to a length: whoever runs a registry chooses its image, and what that sends must not fill
//! the memory of the operator, which works for all of them.

use reqwest::Response;
use snafu::{ResultExt, Snafu, ensure};

/// Why there is no body.
#[derive(Debug, Snafu)]
pub enum Error {
    /// It is longer than anything that is sent for good reason.
    #[snafu(display("the answer has more than {limit} bytes"))]
    TooLong {
        /// What is read at most, in bytes.
        limit: usize,
    },
    /// It ended early.
    #[snafu(display("the answer broke off"))]
    BrokenOff {
        /// What the HTTP client says.
        source: reqwest::Error,
    },
}

/// The whole body, of `limit` bytes at most.
///
/// # Errors
/// When it is longer, or breaks off.
pub async fn whole(mut answer: Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url).context(BrokenOffSnafu)? {
        ensure!(chunk.len() <= limit - body.len(), TooLongSnafu { limit });
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// As much of the body as comes within `limit` bytes, as text: for people, who are helped by half of it, too.
pub async fn beginning(mut answer: Response, limit: usize) -> String {
    let mut body = Vec::new();
    while body.len() < limit
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        let taken = chunk.len().min(limit - body.len());
        body.extend_from_slice(&chunk[..taken]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str) -> Response {
        http::Response::new(body).into()
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_whole_and_one_byte_more_is_too_long() {
        assert_eq!(whole(answer("12345"), 5).await.unwrap(), b"12345");
        assert!(matches!(whole(answer("123456"), 5).await, Err(Error::TooLong { limit: 5 })));
    }

    #[tokio::test]
    async fn of_what_is_for_people_the_beginning_is_enough() {
        assert_eq!(beginning(answer("12345"), 5).await, "12345");
        assert_eq!(beginning(answer("123456"), 5).await, "12345");
        assert_eq!(beginning(answer("ä"), 1).await, "\u{fffd}");
    }
}
