//! Seeded choice.

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

/// A source of choices that are the same for the same seed.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// Dice for one purpose in the world of a seed; those for another purpose fall independently of them.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(purpose);
        Self(dice)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// An index into something of that length, which is not 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True so many times in a thousand.
    pub(crate) fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A time below `most`, and more often a short one: the orders of magnitude are about equally likely.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        let most = most.as_micros() as u64;
        let octave = 64 - most.leading_zeros() as u64;
        let within = 1 << self.below(octave.max(1) + 1).min(63);
        Duration::from_micros(self.below(most.min(within) + 1))
    }
}
