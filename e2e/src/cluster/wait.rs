//! Waiting for something to become true.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::error::{Result, TimedOutSnafu};

/// Asks until the answer is `Ok`, at most for `limit`; the last answer otherwise goes into the error.
pub(crate) fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(last) if start.elapsed() > limit => {
                return TimedOutSnafu { what, after: limit, last }.fail();
            }
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_first_good_answer() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(5), || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err("too few".to_owned()) }
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn waiting_in_vain_says_what_was_seen_last() {
        let error = until("nothing", Duration::ZERO, || {
            std::thread::sleep(Duration::from_millis(1));
            Err::<(), _>("still empty".to_owned())
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("nothing did not happen") && message.contains("still empty"), "{message}");
    }
}
