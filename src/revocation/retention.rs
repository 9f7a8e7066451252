//! Expiry of revocation entries: an entry is kept longer than every token that it refuses, but not much longer.
//!
//! Let S be the clock skew. Let I be the longest idle timeout in tokens of the entry's class (ordinary or remembered). Let L
//! be the lag: `max_staleness`, plus one poll interval, plus D, the maximum duration of a commit ([`MAX_COMMIT_DURATION`]). An
//! entry whose transaction begins at C, for sessions with the absolute deadline A, expires at
//!
//! > **E = min(A, C + I + L + S) + S**
//!
//! *Claim.* No node accepts a token that the entry refuses after the entry has been removed.
//!
//! *Proof.* S bounds the difference between the clocks of any two nodes. Nodes do not compare their clocks with each other:
//! each clock is within S/2 of the store's clock ([`STORE_CLOCK_SKEW`](crate::clock::STORE_CLOCK_SKEW)). Otherwise the node
//! does not start and does not prune. With SQLite, all processes are on one machine, with one clock. The clock of a command
//! that revokes is not checked. If it is slow, [`commit_time`] uses the time that the servers have recorded.
//!
//! C is read just before the transaction begins, from a clock that differs by at most S from every other clock, now and in
//! the past ([`commit_time`]). Either the process that wrote the entry received the result of the commit by C + D, or it has
//! not reported success and writes the entry again with a later C. So every poll that begins after C + D finds the entry.
//! Let T be a token that the entry refuses.
//!
//! 1. T expires at A at the latest. A is the same in all tokens of the session (`Deadlines::renewed`), so it does not matter
//!    which of them the entry's A is from. A node whose clock is slow by at most S accepts T until A + S by the committing
//!    clock.
//! 2. A node seals a token only after a check that finds no entry for the session. The idle deadline counts from the time of
//!    that check, not from the sealing. A node that has not read the entry made its last check at C + L at the latest. The
//!    reasons: after `max_staleness` without a successful poll, it accepts nothing (it fails closed), and a poll that began
//!    after C + D delivers the entry. A login that was waiting seals no later: it seals a token only with a current list, and
//!    only within `max_staleness` after it has read the account ([`super::RevocationList::is_recent`]). The node's clock may
//!    be fast by S. So the idle deadline of T is at most C + L + S + I, by the clock of the sealing node. A node with a slow
//!    clock accepts T for S longer.
//! 3. T is accepted until the earlier of both times, so until E at the latest. An entry is removed only when the pruning
//!    clock is *past* E. Then `pruned_through` is a lower bound for the current time on every node of this store, even if a
//!    clock is set back. ∎
//!
//! Step 2 needs nodes that fail closed. If a node may fail open, entries are kept to A + S. Pending entries are also kept to
//! A + S, because their C is not known yet. For the generation of an account, and for a session whose token is not available,
//! A is replaced by C + L + S plus the longest absolute timeout, because a login that was waiting may begin a session until
//! the time C + L + S.
//!
//! *An entry that refuses a key is never removed.* No deadline limits the tokens that it refuses: an attacker with the key
//! can seal tokens with any deadline, and a node whose key file does not revoke the key opens them as long as the file
//! exists. Such entries are few: at most one for each `sealjar keys revoke` that was ever run. They are not counted as
//! refused sessions.

use std::time::Duration;

use crate::clock::{CLOCK_SKEW, UnixTime};

/// Maximum lifetimes of one class of sessions (ordinary or remembered), over all configurations that may still have live
/// tokens. The store has a record of these configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxLifetimes {
    /// I: the longest idle timeout.
    pub idle: Duration,
    /// Longest absolute timeout.
    pub absolute: Duration,
    /// L: the longest lag of a node.
    pub lag: Duration,
    /// Whether a node may accept sessions while its list is stale.
    pub fail_open: bool,
}

impl MaxLifetimes {
    /// Returns the maximum of each lifetime, which is valid for both classes of sessions.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            idle: self.idle.max(other.idle),
            absolute: self.absolute.max(other.absolute),
            lag: self.lag.max(other.lag),
            fail_open: self.fail_open || other.fail_open,
        }
    }
}

/// D: the maximum time from C until a commit is visible to other nodes.
///
/// A commit that took longer does not count, and the entry is committed again with a later C. So the cause of the delay does
/// not matter: a lock, a disk, a paused database, or a standby that must confirm the commit.
pub const MAX_COMMIT_DURATION: Duration = Duration::from_secs(5);

/// Maximum interval at which a server records the latest time that its clock has shown.
pub const CLOCK_RECORD_INTERVAL: Duration = Duration::from_secs(60);

/// Returns C: the clock of the committing transaction, but never earlier than a time at which tokens may have been sealed.
///
/// If a clock was fast and was set back, there are tokens whose deadlines count from the wrong time. Servers record the
/// latest time that their clock has shown, at a regular interval and whenever the clock is set. If the recorded time
/// `clock_reached` is later than `now`, C is that time plus one interval, because the server may have sealed tokens for one
/// more interval before it stopped.
pub fn commit_time(now: UnixTime, pruned_through: UnixTime, clock_reached: UnixTime) -> UnixTime {
    let sealed = if clock_reached > now { clock_reached.plus(CLOCK_RECORD_INTERVAL) } else { now };
    sealed.max(pruned_through)
}

/// Returns E, the time after which an entry that is committed at `committed_at` may be removed. `absolute_deadline` is `None`
/// if the token is not available.
pub fn expiry(committed_at: UnixTime, absolute_deadline: Option<UnixTime>, longest: MaxLifetimes) -> UnixTime {
    let last_sealing = committed_at.plus(longest.lag).plus(CLOCK_SKEW);
    let absolute = absolute_deadline.unwrap_or_else(|| last_sealing.plus(longest.absolute));
    let idle = last_sealing.plus(longest.idle);
    let last = if longest.fail_open { absolute } else { absolute.min(idle) };
    last.plus(CLOCK_SKEW)
}

/// Returns the time until which this process keeps an entry that is not committed.
pub fn pending_until(absolute_deadline: UnixTime) -> UnixTime {
    absolute_deadline.plus(CLOCK_SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: MaxLifetimes = MaxLifetimes {
        idle: Duration::from_secs(1800),
        absolute: Duration::from_secs(43_200),
        lag: Duration::from_secs(11),
        fail_open: false,
    };

    #[test]
    fn an_entry_expires_with_the_earlier_of_both_deadlines() {
        let committed = UnixTime(1_000_000);
        let idle_bound = UnixTime(1_000_000 + 1800 + 11 + 60 + 60);
        assert_eq!(expiry(committed, Some(UnixTime(1_040_000)), LONGEST), idle_bound);
        assert_eq!(expiry(committed, None, LONGEST), idle_bound);
        assert_eq!(expiry(committed, Some(UnixTime(1_000_010)), LONGEST), UnixTime(1_000_070));
    }

    #[test]
    fn counts_from_the_latest_time_at_which_tokens_were_sealed() {
        assert_eq!(commit_time(UnixTime(500), UnixTime(0), UnixTime(500)), UnixTime(500));
        assert_eq!(commit_time(UnixTime(500), UnixTime(700), UnixTime(0)), UnixTime(700));
        assert_eq!(commit_time(UnixTime(500), UnixTime(0), UnixTime(7_700)), UnixTime(7_760));
    }

    #[test]
    fn ignores_the_idle_timeout_if_a_node_may_fail_open() {
        let open = MaxLifetimes { fail_open: true, ..LONGEST };
        assert_eq!(expiry(UnixTime(1_000_000), Some(UnixTime(1_040_000)), open), UnixTime(1_040_060));
        assert_eq!(expiry(UnixTime(1_000_000), None, open), UnixTime(1_000_000 + 11 + 43_200 + 120));
    }
}
