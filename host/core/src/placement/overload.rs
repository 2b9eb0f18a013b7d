//! Overload: when a node is markedly more loaded than the others.

/// A node is overloaded when it is worse than the best by this factor and so many steps...
const ON_FACTOR: f64 = 1.1;
const ON_STEPS: f64 = 3.0;
/// ...until it is worse by no more than this many. Between the two nothing changes, so that it
/// does not flicker with single steps.
const OFF_STEPS: f64 = 1.0;
/// Whether a node is overloaded, with hysteresis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overload {
    on: bool,
}

impl Overload {
    /// Look again: the wait here, the least wait elsewhere, what a step takes, all in microseconds.
    pub fn update(&mut self, wait_us: f64, best_us: f64, demand_us: f64) -> bool {
        if wait_us > ON_FACTOR * best_us + ON_STEPS * demand_us {
            self.on = true;
        } else if wait_us < best_us + OFF_STEPS * demand_us {
            self.on = false;
        }
        self.on
    }

    /// As it was found last.
    pub fn is_on(&self) -> bool {
        self.on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a node flickers in and out of overload with every step, or never leaves it.
    #[test]
    fn overload_has_hysteresis() {
        let mut overload = Overload::default();
        assert!(!overload.update(3900.0, 1000.0, 1000.0));
        assert!(overload.update(4200.0, 1000.0, 1000.0));
        assert!(overload.update(2100.0, 1000.0, 1000.0));
        assert!(!overload.update(1900.0, 1000.0, 1000.0));
        assert!(!overload.update(3900.0, 1000.0, 1000.0));
    }
}
