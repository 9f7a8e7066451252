//! How long an entry must be kept: longer than every token that it refuses, and not more.
//!
//! Let S be the clock skew, I the longest idle time that a token of the entry's kind may carry, and L the lag: `max_staleness`
//! plus one poll plus D, the longest that a commit may take ([`COMMITTED_WITHIN`]). An entry whose transaction begins at C, for
//! sessions that end at the absolute deadline A, expires at
//!
//! > **E = min(A, C + I + L + S) + S**
//!
//! *Claim.* No node accepts a token that the entry refuses after the entry has gone.
//!
//! *Proof.* S bounds the difference between the clocks of any two nodes. No node compares itself with another: each is within
//! S/2 of the store's clock ([`STORE_CLOCK_SKEW`](crate::clock::STORE_CLOCK_SKEW)), or it does not start and does not prune. With
//! SQLite all processes are on one machine, with one clock. A command that revokes is not checked: if its clock is slow,
//! [`commit_time`] takes what the servers have recorded.
//!
//! C is read from a clock within S of any other, now and before ([`commit_time`]), just before the transaction begins.
//! Whoever wrote the entry learned by C + D that it is committed; else it is written again, with a later C, and nobody was told
//! that it holds. So by C + D every poll that begins finds it. Take a token T that the entry refuses.
//!
//! 1. T dies at A at the latest, whichever of the session's tokens told A: they all have the same (`Deadlines::renewed`). A
//!    node whose clock is slow by at most S believes in it until A + S by the committing clock.
//! 2. A token is sealed only by a node that found the session in no entry just before, and its idle deadline counts from the
//!    instant at which that check was made, not from the sealing. A node that has not yet heard of the entry made its last
//!    check at C + L at the latest: after `max_staleness` without a successful poll it accepts nothing (it fails closed), and
//!    a poll that began after C + D delivers the entry. A sign-in that was waiting is no later: it seals only on a list that
//!    is current, and within `max_staleness` of having read the account ([`super::RevocationList::is_recent`]). The node's
//!    clock may be fast by S. So T's idle deadline is at most C + L + S + I, by the sealing node's own clock; a slow node
//!    believes in it for S longer.
//! 3. T is believed until the lesser of both, so until E at the latest. Entries are thrown away only when the pruning clock is
//!    *past* E, and then `pruned_through` makes that instant a floor under every later "now" of this store, which covers a
//!    clock that is set back. ∎
//!
//! Step 2 needs nodes that fail closed. Where a node may fail open, entries are kept to A + S; so are pending ones, whose C is
//! not known yet. For an account's generation or a session whose token is not at hand, A is taken as C + L + S plus the longest
//! absolute lifetime: a sign-in that was waiting may still begin a session until then.
//!
//! *An entry that refuses a key is never thrown away.* No deadline bounds what it refuses: who stole the key seals tokens with
//! any deadline, and a node whose key file still calls the key good opens them for as long as the file stays. Such entries are
//! few: there is at most one for each `sealjar keys revoke` that was ever run. They are not counted among the sessions refused.

use std::time::Duration;

use crate::clock::{CLOCK_SKEW, UnixTime};

/// What the sessions of one kind may be, by the store's record of all configurations that may still have live tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Longest {
    /// I: the longest idle time.
    pub idle: Duration,
    /// The longest absolute lifetime.
    pub absolute: Duration,
    /// L: the longest lag of a node.
    pub lag: Duration,
    /// Whether a node may accept sessions while its list is stale.
    pub fail_open: bool,
}

impl Longest {
    /// What holds for sessions of either kind.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            idle: self.idle.max(other.idle),
            absolute: self.absolute.max(other.absolute),
            lag: self.lag.max(other.lag),
            fail_open: self.fail_open || other.fail_open,
        }
    }
}

/// D: how long after C a commit may become visible to others. One that took longer does not count and is made again, with a later
/// C; so it does not matter what held it up: a lock, a disk, a paused database, a standby that must confirm it.
pub const COMMITTED_WITHIN: Duration = Duration::from_secs(5);

/// How often at least a server records what its clock has reached.
pub const CLOCK_RECORDED_EVERY: Duration = Duration::from_secs(60);

/// C: the clock of the committing transaction, but never earlier than what tokens may have been sealed under.
///
/// A clock that ran fast and was set back has left tokens whose deadlines count from the wrong time. Servers record what their
/// clock has reached, regularly and at every step; where that is ahead of now, C is that, and as much later as a server may
/// have gone on before it was stopped.
pub fn commit_time(now: UnixTime, pruned_through: UnixTime, clock_reached: UnixTime) -> UnixTime {
    let sealed = if clock_reached > now { clock_reached.plus(CLOCK_RECORDED_EVERY) } else { now };
    sealed.max(pruned_through)
}

/// When an entry committed at `committed_at` may be thrown away; `absolute_deadline` where the token is at hand.
pub fn expiry(committed_at: UnixTime, absolute_deadline: Option<UnixTime>, longest: Longest) -> UnixTime {
    let last_sealing = committed_at.plus(longest.lag).plus(CLOCK_SKEW);
    let absolute = absolute_deadline.unwrap_or_else(|| last_sealing.plus(longest.absolute));
    let idle = last_sealing.plus(longest.idle);
    let last = if longest.fail_open { absolute } else { absolute.min(idle) };
    last.plus(CLOCK_SKEW)
}

/// How long this process keeps an entry that is not committed.
pub fn pending_until(absolute_deadline: UnixTime) -> UnixTime {
    absolute_deadline.plus(CLOCK_SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Longest = Longest {
        idle: Duration::from_secs(1800),
        absolute: Duration::from_secs(43_200),
        lag: Duration::from_secs(11),
        fail_open: false,
    };

    #[test]
    fn keeps_an_entry_for_the_idle_time_within_the_absolute_one() {
        let committed = UnixTime(1_000_000);
        let idle_bound = UnixTime(1_000_000 + 1800 + 11 + 60 + 60);
        assert_eq!(expiry(committed, Some(UnixTime(1_040_000)), LONGEST), idle_bound);
        assert_eq!(expiry(committed, None, LONGEST), idle_bound);
        assert_eq!(expiry(committed, Some(UnixTime(1_000_010)), LONGEST), UnixTime(1_000_070));
    }

    #[test]
    fn counts_from_the_latest_time_that_tokens_may_be_sealed_under() {
        assert_eq!(commit_time(UnixTime(500), UnixTime(0), UnixTime(500)), UnixTime(500));
        assert_eq!(commit_time(UnixTime(500), UnixTime(700), UnixTime(0)), UnixTime(700));
        assert_eq!(commit_time(UnixTime(500), UnixTime(0), UnixTime(7_700)), UnixTime(7_760));
    }

    #[test]
    fn keeps_an_entry_to_the_end_where_a_node_may_fail_open() {
        let open = Longest { fail_open: true, ..LONGEST };
        assert_eq!(expiry(UnixTime(1_000_000), Some(UnixTime(1_040_000)), open), UnixTime(1_040_060));
        assert_eq!(expiry(UnixTime(1_000_000), None, open), UnixTime(1_000_000 + 11 + 43_200 + 120));
    }
}
