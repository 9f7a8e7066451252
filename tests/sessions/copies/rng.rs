//! Random number generator with a seed: [SplitMix64](https://prng.di.unimi.it/splitmix64.c). A seed determines the whole
//! schedule.

pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Returns a number below `end`. `end` must not be 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns one of the elements.
    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    /// Returns `true` with a probability of `times` in a thousand.
    pub(super) fn permille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// Returns a number from `first` to `last`, with a uniform distribution.
    pub(super) fn uniform(&mut self, (first, last): (u64, u64)) -> u64 {
        first + self.below(last - first + 1)
    }

    /// Returns a number from `first` to `last`. Each power of two is about equally likely, as for latencies.
    pub(super) fn log_uniform(&mut self, (first, last): (u64, u64)) -> u64 {
        let bits = (last + 1).div_ceil(first + 1).ilog2() + 1;
        let shift = self.below(u64::from(bits));
        self.uniform((first, (last >> shift).max(first)))
    }
}
