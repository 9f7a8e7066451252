//! What was seen in schedules, and how often: the losses that the design allows, by kind, and that there was something to lose.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    SignedIn,
    SignedOut,
    Renewed,
    /// Entries were thrown away.
    Pruned,
    /// The response with a renewed cookie never arrived: the older one goes on, and dies sooner.
    RenewalLost,
    /// The response of a sign-in never arrived: a session that nobody holds, and another sign-in.
    SignInLost,
    /// The response of a sign-out never arrived: the browser keeps a dead cookie.
    RemovalLost,
    /// A renewal that arrived late put a session that had been replaced over its successor: another sign-in.
    LateRenewal,
    /// Of two sign-ins in one browser the one that arrived last is kept, or a removal took away a newer session.
    Overwritten,
    /// 503: the node could not know whether the session was ended meanwhile.
    Stale,
    /// Refused by a node whose clock somebody had set.
    ClockSet,
    /// Refused because a node with a wrong clock has thrown entries away: time does not go back behind that.
    PrunedAhead,
    /// Refused by the node where its sign-out is not yet on disk.
    RefusedWhilePending,
    /// 503: the sign-out is not on disk; refused where it was asked for, and perhaps not after a restart.
    SignOutNotDurable,
    /// A restart forgot a sign-out that was never answered with success.
    PendingForgotten,
    /// 503: what came with a sign-in could not be ended.
    SignInNotDurable,
    /// 503: the store cannot be reached.
    StoreAway,
    /// No connection.
    NodeDown,
    /// The account changed while the password was checked.
    Overtaken,
    /// A sign-in was held up for longer than a list may be stale.
    HeldUp,
    /// A sign-in got its cookie, and was ended before it had it.
    SealedDead,
    /// A node that fails open accepted a session that was ended elsewhere.
    AcceptedWhileOpen,
    /// Within the allowed lag, a session that was ended elsewhere was accepted.
    AcceptedWithinLag,
    /// A step-up was under way while its session was signed out: the password was right, and the new session lives.
    StepUpOutlivedSignOut,
    /// Refused by a node that does not hold the key, or holds it as revoked.
    KeyNotOpened,
    /// 503: the node does not open with the key of the session that is to end, and another may.
    KeyElsewhere,
    /// A sign-out that revoked nothing, because no node opens with the key.
    SignedOutUnderADeadKey,
    /// 503: no key seals.
    NoActiveKey,
    /// A sign-out that revoked nothing, because the node's clock was past the absolute deadline, and far ahead of the right time.
    SignedOutPastTheDeadlineOfAFastClock,
}

pub(super) const KINDS: [Seen; 29] = {
    use Seen::*;
    [
        SignedIn,
        SignedOut,
        Renewed,
        Pruned,
        RenewalLost,
        SignInLost,
        RemovalLost,
        LateRenewal,
        Overwritten,
        Stale,
        ClockSet,
        PrunedAhead,
        RefusedWhilePending,
        SignOutNotDurable,
        PendingForgotten,
        SignInNotDurable,
        StoreAway,
        NodeDown,
        Overtaken,
        HeldUp,
        SealedDead,
        AcceptedWhileOpen,
        AcceptedWithinLag,
        StepUpOutlivedSignOut,
        KeyNotOpened,
        KeyElsewhere,
        SignedOutUnderADeadKey,
        NoActiveKey,
        SignedOutPastTheDeadlineOfAFastClock,
    ]
};

#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Seen, u64>);

impl Tally {
    pub(super) fn count(&mut self, seen: Seen) {
        *self.0.entry(seen).or_default() += 1;
    }

    pub(super) fn of(&self, seen: Seen) -> u64 {
        self.0.get(&seen).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(seen, times)| *self.0.entry(*seen).or_default() += times);
    }

    pub(super) fn never(&self) -> Vec<Seen> {
        KINDS.into_iter().filter(|kind| !self.0.contains_key(kind)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(seen, times)| writeln!(f, "{times:8}  {seen:?}"))
    }
}
