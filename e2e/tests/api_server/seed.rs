//! Chance that can be repeated: the seed is printed, and `E2E_SEED` sets it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (Numerical Recipes'); plenty for a few choices.
pub struct Chance(u64);

impl Chance {
    /// Starts from `E2E_SEED`, or from the time.
    pub fn new() -> Self {
        let given = std::env::var("E2E_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        println!("E2E_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
        // The low bits of such a generator repeat soon.
        (self.0 >> 8) % limit
    }
}
