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
    /// A stored hash of more than this many times the configured work is replaced.
    const MAX_RATIO: u64 = 2;

    /// The number of blocks that are computed: memory times passes. The time of a hash is about proportional to it.
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

    /// Whether it takes more time than `other`, by its work.
    pub(crate) fn has_more_work_than(self, other: Self) -> bool {
        self.work() > other.work()
    }

    /// Whether a stored hash of this cost is replaced by one of the configured cost at the next successful login: it is weaker, or
    /// so costly that the time of a login tells that the account exists.
    pub(crate) fn is_replaced_by(self, configured: Self) -> bool {
        self.is_weaker_than(configured) || self.work() > Self::MAX_RATIO * configured.work()
    }

    /// Returns the number of blocks of memory, of 1 KiB each.
    pub(super) fn blocks(self) -> usize {
        self.params().map_or(0, |params| params.block_count())
    }

    pub(super) fn params(self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
    }
}

/// The memory for hashing: what each thread has for the configured cost, and what is left for stored hashes that need more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(super) cost: Cost,
    pub(super) spare_kib: u32,
}

impl Budget {
    /// The budget of `password.memory_budget_kib` for this number of threads.
    pub(crate) fn new(cost: Cost, threads: u32, budget_kib: u32) -> Self {
        Self { cost, spare_kib: budget_kib.saturating_sub(threads.saturating_mul(cost.memory_kib)) }
    }

    /// Whether there is memory to check a stored hash of this cost.
    pub(crate) fn suffices_for(self, stored: Cost) -> bool {
        self.extra_kib(stored) <= self.spare_kib
    }

    /// How much larger the budget must be to check stored hashes of this much memory.
    pub(crate) fn missing_kib(self, memory_kib: u32) -> u32 {
        memory_kib.saturating_sub(self.cost.memory_kib).saturating_sub(self.spare_kib)
    }

    /// How much memory a stored hash of this cost needs beyond that of a thread.
    pub(super) fn extra_kib(self, stored: Cost) -> u32 {
        stored.memory_kib.saturating_sub(self.cost.memory_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_weaker_hash_or_one_of_over_twice_the_work() {
        let configured = Cost { memory_kib: 20_000, passes: 2, lanes: 1 };
        for (memory_kib, passes, is_replaced) in [
            (20_000, 2, false),
            (40_000, 1, false),
            (20_000, 3, false),
            (40_000, 2, false),
            (40_000, 3, true),
            (20_000, 5, true),
            (40_001, 2, true),
            // Less memory and more passes: weaker against special hardware, however long it takes.
            (10_000, 4, true),
            (10_000, 20, true),
            (10_000, 2, true),
            (20_000, 1, true),
        ] {
            let stored = Cost { memory_kib, passes, lanes: 1 };
            assert_eq!(stored.is_replaced_by(configured), is_replaced, "{stored:?}");
        }
    }

    #[test]
    fn the_budget_lends_what_the_threads_do_not_need() {
        let cost = Cost { memory_kib: 100, passes: 1, lanes: 1 };
        let budget = Budget::new(cost, 2, 250);
        for (memory_kib, fits) in [(50, true), (100, true), (150, true), (151, false)] {
            assert_eq!(budget.suffices_for(Cost { memory_kib, ..cost }), fits, "{memory_kib}");
        }
        assert_eq!([150, 151, 300].map(|memory_kib| budget.missing_kib(memory_kib)), [0, 1, 150]);
        assert!(!Budget::new(cost, 3, 250).suffices_for(Cost { memory_kib: 101, ..cost }));
    }
}
