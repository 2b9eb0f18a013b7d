//! Randomness by name: a number is a hash of the seed and of what it is for. So what one policy
//! draws does not shift what another sees: all get the same arrivals and demands (common random
//! numbers). The finaliser is SplitMix64's; figures can be compared with `lbsim` seed by seed
//! because it names its numbers alike.

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64.
pub(super) fn mix(of: u64) -> u64 {
    let state = of.wrapping_add(GOLDEN);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The number of this name.
pub(super) fn named(seed: u64, of: u64, which: u64) -> u64 {
    mix(mix(mix(seed) ^ of) ^ which)
}

/// A hash as a number in (0, 1).
pub(super) fn unit(of: u64) -> f64 {
    ((of >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// A stream of numbers.
#[derive(Debug)]
pub(super) struct Stream(Xoshiro256PlusPlus);

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        let mut word = seed;
        for chunk in bytes.chunks_exact_mut(8) {
            word = mix(word);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Self(Xoshiro256PlusPlus::from_seed(bytes))
    }

    pub(super) fn unit(&mut self) -> f64 {
        unit(self.0.next_u64())
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (((self.0.next_u64() >> 32) * count as u64) >> 32) as usize
    }

    /// From the exponential distribution.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }
}
