//! Where random bits come from.

use zeroize::Zeroize;

/// A source of independent, uniform bits.
pub trait Source {
    /// `count` bits, 0 to 64, in the lowest positions. It takes no more bits than it returns.
    fn bits(&mut self, count: u32) -> u64;

    /// A uniform number below `bound`, drawn by rejection, because a division would prefer some numbers.
    ///
    /// # Panics
    /// If the bound is 0.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let count = 64 - (bound - 1).leading_zeros();
        loop {
            let number = self.bits(count);
            if number < bound {
                return number;
            }
        }
    }
}

const BUFFER: usize = 4096;

/// The operating system's generator, which is asked for a page at a time. Bytes are wiped as soon as they are used, and
/// the rest when the source is dropped.
pub struct Os {
    buffer: [u8; BUFFER],
    at: usize,
}

impl Os {
    /// A source that asks the operating system when it is first used.
    pub fn new() -> Self {
        Self { buffer: [0; BUFFER], at: BUFFER }
    }
}

impl Default for Os {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for Os {
    /// # Panics
    /// If the operating system gives no random bytes: without them nothing may be published.
    fn bits(&mut self, count: u32) -> u64 {
        let bytes = count.div_ceil(8) as usize;
        if self.at + bytes > BUFFER {
            getrandom::fill(&mut self.buffer).expect("the operating system gives random bytes");
            self.at = 0;
        }
        let mut word = [0; 8];
        let used = &mut self.buffer[self.at..self.at + bytes];
        word[..bytes].copy_from_slice(used);
        used.zeroize();
        self.at += bytes;
        let word = u64::from_le_bytes(word);
        if count == 0 { 0 } else { word & (u64::MAX >> (64 - count)) }
    }
}

impl Drop for Os {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
pub mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Reproducible bits.
    pub struct Seeded(pub StdRng);

    impl Seeded {
        pub fn new(seed: u64) -> Self {
            Self(StdRng::seed_from_u64(seed))
        }
    }

    impl Source for Seeded {
        fn bits(&mut self, count: u32) -> u64 {
            if count == 0 { 0 } else { self.0.random::<u64>() >> (64 - count) }
        }
    }

    #[test]
    fn bits_are_as_many_as_were_asked_for_and_numbers_stay_below() {
        let mut os = Os::new();
        for count in 0..=64 {
            let all = (0..200).fold(0, |all, _| all | os.bits(count));
            assert_eq!(all, if count == 0 { 0 } else { u64::MAX >> (64 - count) }, "{count}");
        }
        for bound in [1, 2, 3, 5, 1000, u64::MAX] {
            assert!((0..100).all(|_| os.below(bound) < bound));
        }
        let mut seen = [0; 5];
        (0..5000).for_each(|_| seen[os.below(5) as usize] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }
}
