//! Time as the core is told it: microseconds on the node's own steady clock.

use core::ops::{Add, Sub};

pub use core::time::Duration;

/// A moment on the node's steady clock. Moments of two nodes are never compared; a birth can lie
/// before the clock began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    micros: i64,
}

impl Time {
    /// The moment `micros` microseconds after the clock began.
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Microseconds since the clock began.
    pub const fn as_micros(self) -> i64 {
        self.micros
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.micros.saturating_sub(earlier.micros);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

fn signed_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self { micros: self.micros.saturating_add(signed_micros(duration)) }
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self { micros: self.micros.saturating_sub(signed_micros(duration)) }
    }
}

/// A duration as it stands in messages and trails, in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
