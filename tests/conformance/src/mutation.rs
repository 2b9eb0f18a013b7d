//! Nearly good bytes: pseudo-random changes to good ones, the same for the same seed.

/// A small generator of pseudo-random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.draw() % bound).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.draw().to_le_bytes()[0]
    }
}

/// Heads that decoders have trouble with: long, indefinite, reserved, floats, tags, breaks.
const HEADS: [u8; 24] = [
    0x00, 0x17, 0x18, 0x19, 0x1b, 0x1c, 0x20, 0x40, 0x5b, 0x5f, 0x60, 0x7f, 0x80, 0x81, 0x9b, 0x9f,
    0xa0, 0xa1, 0xbf, 0xc1, 0xf6, 0xf8, 0xfb, 0xff,
];

/// Change `bytes` in one to four places; `other` is good input to take parts from.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => change(bytes, at, |byte| byte ^ (1 << (at % 8))),
            1 => {
                let new = random.byte();
                change(bytes, at, |_| new);
            }
            2 | 3 => {
                let head = HEADS.get(random.below(HEADS.len())).copied().unwrap_or(0);
                change(bytes, at, |_| head);
            }
            4 => {
                let new = random.byte();
                bytes.insert(at, new);
            }
            5 => {
                let end = (at + 1 + random.below(4)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => bytes.truncate(at),
            _ => {
                let from = random.below(other.len());
                let end = (from + 1 + random.below(40)).min(other.len());
                let part = other.get(from..end).unwrap_or_default();
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
}

fn change(bytes: &mut [u8], at: usize, new: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = new(*byte);
    }
}
