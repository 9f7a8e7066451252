//! What a hash costs, and what is too little or too much.

use argon2::Params;

/// The cost of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory in KiB.
    pub(crate) memory_kib: u32,
    /// Passes over it.
    pub(crate) passes: u32,
    /// Lanes; they are computed one after the other.
    pub(crate) lanes: u32,
}

impl Cost {
    /// The weakest that a configuration may ask for (OWASP's recommendation of equal strength, with the least memory).
    pub(crate) const LEAST_MEMORY_KIB: u32 = 7168;
    /// OWASP's recommendations, all of about the same strength: so much memory, and so many passes over it.
    const OWASP: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (Self::LEAST_MEMORY_KIB, 5)];
    /// What a stored hash may cost at most: a mistake, or an attack by whoever can write the database.
    pub(super) const MOST_MEMORY_KIB: u32 = 1 << 18;
    pub(super) const MOST_WORK: u64 = 1 << 21;
    const MOST_LANES: u32 = 16;
    const FRACTIONS: u64 = 200;

    /// Block computations, which is what takes the time.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Whether this server is willing to compute it.
    pub(crate) fn is_bearable(self) -> bool {
        self.memory_kib <= Self::MOST_MEMORY_KIB
            && self.work() <= Self::MOST_WORK
            && (1..=Self::MOST_LANES).contains(&self.lanes)
            && self.params().is_ok()
    }

    /// Whether it is no less than OWASP recommends.
    pub(crate) fn is_recommended(self) -> bool {
        Self::OWASP.into_iter().any(|(memory_kib, passes)| self.memory_kib >= memory_kib && self.passes >= passes)
    }

    /// A small part of this work, of which several fill what is missing.
    pub(super) fn fraction(self) -> Self {
        Self {
            memory_kib: (u32::try_from(self.work() / Self::FRACTIONS).unwrap_or(u32::MAX)).clamp(8, self.memory_kib),
            passes: 1,
            lanes: 1,
        }
    }

    pub(crate) fn is_weaker_than(self, other: Self) -> bool {
        self.work() < other.work() || self.memory_kib < other.memory_kib
    }

    pub(super) fn params(self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
    }
}
