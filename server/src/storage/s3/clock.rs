//! The store's own clock: the `Date` of the very answer whose times are to be told. This host's clock is never asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

/// Keeps the date of the last answer of the call that it is given to.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreClock(Arc<Mutex<Option<DateTime>>>);

impl StoreClock {
    /// How long ago a time of the answer was; `None` if the answer had no date.
    pub fn age(&self, since: &DateTime) -> Option<Duration> {
        let now = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(between(since, &now))
    }
}

/// From one time to another; nothing if that is earlier, since the date of an answer has whole seconds only.
fn between(since: &DateTime, now: &DateTime) -> Duration {
    let nanos = now.as_nanos().saturating_sub(since.as_nanos());
    u64::try_from(nanos).map_or(Duration::ZERO, Duration::from_nanos)
}

impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "StoreClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_against_the_date_of_the_answer() {
        let clock = StoreClock::default();
        let at = |seconds| DateTime::from_secs(seconds);
        assert_eq!(clock.age(&at(100)), None);
        *clock.0.lock().unwrap() = Some(at(160));
        assert_eq!(clock.age(&at(100)), Some(Duration::from_mins(1)));
        assert_eq!(clock.age(&DateTime::from_millis(160_400)), Some(Duration::ZERO));
    }
}
