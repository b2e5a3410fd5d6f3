//! Waiting for what comes to pass by itself.

use std::time::{Duration, Instant};

/// Longest wait: far more than anything takes that works, on a machine that has other things to do.
const LONGEST: Duration = Duration::from_mins(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until something is so. `what` completes "it never comes to pass that …".
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    found(what, async || so().await.then_some(())).await;
}

/// Looks until something is found.
pub async fn found<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < LONGEST, "it never comes to pass that {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
