//! The cost of a password hash in memory and passes, its limits, and the memory budget for hashing.
//!
//! The memory limits are in KiB, as in the parameters of [Argon2](https://www.rfc-editor.org/rfc/rfc9106#section-3.1).

use argon2::Params;

/// The cost of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Size of the memory in KiB.
    pub(crate) memory_kib: u32,
    /// Number of passes over the memory.
    pub(crate) passes: u32,
    /// Number of lanes (the degree of parallelism of Argon2). Sealjar computes the lanes one after the other.
    pub(crate) lanes: u32,
}

impl Cost {
    /// Minimum memory that a configuration may set. It is the smallest memory among OWASP's recommendations.
    pub(crate) const MIN_MEMORY_KIB: u32 = 7168;
    /// Pairs of memory in KiB and number of passes that OWASP recommends. All have about the same strength. See the
    /// [cheat sheet](https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id).
    const OWASP: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (Self::MIN_MEMORY_KIB, 5)];
    /// Maximum memory that the check of a stored hash may use with any configuration. A higher value was written by mistake,
    /// or by an attacker with write access to the database.
    pub(super) const MAX_MEMORY_KIB: u32 = 1 << 18;
    /// Maximum work that the check of a stored hash may need with any configuration; see [`Self::work`]. A hash with
    /// more work is refused.
    pub(super) const MAX_WORK: u64 = 1 << 21;
    /// Maximum number of lanes of a stored hash.
    const MAX_LANES: u32 = 16;
    /// Number of small hashes, each with the cost [`fraction`](Self::fraction), that together have about the work of one hash.
    const FRACTIONS_PER_HASH: u64 = 200;
    /// Largest ratio of a stored hash's work to the configured work at which the hash is kept. A hash with more work is
    /// replaced at the next login.
    const MAX_WORK_RATIO: u64 = 2;

    /// Returns the number of memory blocks that are computed: memory times passes. The time to compute a hash is roughly
    /// proportional to this number.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Returns whether the cost is within the limits for stored hashes.
    pub(crate) fn is_within_limits(self) -> bool {
        self.memory_kib <= Self::MAX_MEMORY_KIB
            && self.work() <= Self::MAX_WORK
            && (1..=Self::MAX_LANES).contains(&self.lanes)
            && self.params().is_ok()
    }

    /// Returns whether the cost is at least one of OWASP's recommendations.
    pub(crate) fn is_recommended(self) -> bool {
        Self::OWASP.into_iter().any(|(memory_kib, passes)| self.memory_kib >= memory_kib && self.passes >= passes)
    }

    /// Returns the cost of a small hash, with a fraction of this cost's work. After the check of a weaker stored hash, such
    /// small hashes are computed until the check has taken as long as one of this cost.
    pub(super) fn fraction(self) -> Self {
        // Argon2 needs at least 8 KiB of memory for one lane.
        Self {
            memory_kib: (u32::try_from(self.work() / Self::FRACTIONS_PER_HASH).unwrap_or(u32::MAX))
                .clamp(8, self.memory_kib),
            passes: 1,
            lanes: 1,
        }
    }

    /// Returns whether this cost has less work or less memory than `other`.
    pub(crate) fn is_weaker_than(self, other: Self) -> bool {
        self.work() < other.work() || self.memory_kib < other.memory_kib
    }

    /// Returns whether this cost has more work than `other`, and so takes more time.
    pub(crate) fn has_more_work_than(self, other: Self) -> bool {
        self.work() > other.work()
    }

    /// Returns whether a stored hash of this cost is replaced at the next successful login by a hash of the configured
    /// cost. It is replaced if it is weaker, or if its check takes so long that the time of a login reveals that the
    /// account exists.
    pub(crate) fn is_replaced_by(self, configured: Self) -> bool {
        self.is_weaker_than(configured) || self.work() > Self::MAX_WORK_RATIO * configured.work()
    }

    /// Returns the number of memory blocks. A block has 1 KiB.
    pub(super) fn blocks(self) -> usize {
        self.params().map_or(0, |params| params.block_count())
    }

    pub(super) fn params(self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
    }
}

/// The memory for hashing. Each thread has memory for the configured cost. The rest can be reserved by threads that check a
/// stored hash which needs more memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Configured cost.
    pub(super) cost: Cost,
    /// Memory in KiB that the threads do not need for the configured cost.
    pub(super) spare_kib: u32,
}

impl Budget {
    /// Divides `password.memory_budget_kib` between this number of threads and the spare memory.
    pub(crate) fn new(cost: Cost, threads: u32, budget_kib: u32) -> Self {
        Self { cost, spare_kib: budget_kib.saturating_sub(threads.saturating_mul(cost.memory_kib)) }
    }

    /// Returns whether the budget is large enough to check a stored hash of this cost.
    pub(crate) fn suffices_for(self, stored: Cost) -> bool {
        self.extra_kib(stored) <= self.spare_kib
    }

    /// Returns the size by which the budget must be increased to check stored hashes of this memory size.
    pub(crate) fn missing_kib(self, memory_kib: u32) -> u32 {
        memory_kib.saturating_sub(self.cost.memory_kib).saturating_sub(self.spare_kib)
    }

    /// Returns the memory in KiB that the check of a stored hash of this cost needs in addition to the memory for the
    /// configured cost.
    pub(super) fn extra_kib(self, stored: Cost) -> u32 {
        stored.memory_kib.saturating_sub(self.cost.memory_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_hash_that_is_weaker_or_has_over_twice_the_work() {
        let configured = Cost { memory_kib: 20_000, passes: 2, lanes: 1 };
        for (memory_kib, passes, is_replaced) in [
            (20_000, 2, false),
            (40_000, 1, false),
            (20_000, 3, false),
            (40_000, 2, false),
            (40_000, 3, true),
            (20_000, 5, true),
            (40_001, 2, true),
            // A hash with less memory is weaker against attackers with GPUs or custom chips, even if it has more passes.
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
    fn the_budget_lends_memory_that_the_threads_do_not_need() {
        let cost = Cost { memory_kib: 100, passes: 1, lanes: 1 };
        let budget = Budget::new(cost, 2, 250);
        for (memory_kib, fits) in [(50, true), (100, true), (150, true), (151, false)] {
            assert_eq!(budget.suffices_for(Cost { memory_kib, ..cost }), fits, "{memory_kib}");
        }
        assert_eq!([150, 151, 300].map(|memory_kib| budget.missing_kib(memory_kib)), [0, 1, 150]);
        assert!(!Budget::new(cost, 3, 250).suffices_for(Cost { memory_kib: 101, ..cost }));
    }
}
