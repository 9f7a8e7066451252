//! Counts of observations in schedules: the disadvantages for users that the design allows, and events that must also occur.

use std::collections::BTreeMap;
use std::fmt;

/// Event that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Observation {
    SignedIn,
    SignedOut,
    Renewed,
    /// A node removed expired entries.
    Pruned,
    /// The response with a renewed cookie was lost. The browser keeps the older token, which expires earlier.
    RenewalLost,
    /// The response to a login was lost. Its session is not used, and the user must log in again.
    SignInLost,
    /// The response to a logout was lost. The browser keeps the cookie of a revoked session.
    RemovalLost,
    /// A late renewal overwrote the cookie of the newer session. The user must log in again.
    LateRenewal,
    /// A login replaced the cookie of another live session, or the response to a logout removed the cookie of a newer session.
    Overwritten,
    /// 503: the list is stale, so the node does not know whether the session is revoked.
    Stale,
    /// A live session was refused by a node whose clock had been set.
    ClockSet,
    /// A live session was refused, because a node with a fast clock had removed entries. After a removal, no node uses an
    /// earlier time.
    PrunedAhead,
    /// A session was refused by the node on which its revocation is pending.
    RefusedWhilePending,
    /// 503: the logout is not on disk. This node refuses the session, but possibly not after a restart.
    SignOutNotDurable,
    /// A restart removed the pending entry of a logout that had not been confirmed.
    PendingForgotten,
    /// 503: the sessions in the request of a login could not be revoked.
    SignInNotDurable,
    /// 503: the store is unavailable.
    StoreUnavailable,
    /// The node did not accept connections.
    NodeDown,
    /// The account or the session changed while the password was checked.
    ChangedMeanwhile,
    /// A login was delayed for longer than `max_staleness`.
    Delayed,
    /// A login got a token whose session had already been revoked.
    SealedRevoked,
    /// A node that fails open accepted a session that was revoked on another node.
    AcceptedWhileOpen,
    /// A node accepted a session that was revoked on another node less than `max_staleness` ago.
    AcceptedWithinLag,
    /// A session was logged out during its step-up. The password was correct, and the new session is valid.
    StepUpOutlivedSignOut,
    /// A live session was refused by a node on which its key is missing or revoked.
    KeyNotOpened,
    /// 503: the node cannot open the token that a logout must revoke, and another node possibly can.
    KeyElsewhere,
    /// A logout revoked nothing, because no node can open the token.
    SignedOutWithAnUnusableKey,
    /// 503: the node has no active key.
    NoActiveKey,
    /// A logout revoked nothing, because the clock of the node was fast and already past the absolute deadline.
    SignedOutPastTheDeadlineOfAFastClock,
}

pub(super) const ALL: [Observation; 29] = {
    use Observation::*;
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
        StoreUnavailable,
        NodeDown,
        ChangedMeanwhile,
        Delayed,
        SealedRevoked,
        AcceptedWhileOpen,
        AcceptedWithinLag,
        StepUpOutlivedSignOut,
        KeyNotOpened,
        KeyElsewhere,
        SignedOutWithAnUnusableKey,
        NoActiveKey,
        SignedOutPastTheDeadlineOfAFastClock,
    ]
};

#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Observation, u64>);

impl Tally {
    pub(super) fn count(&mut self, observation: Observation) {
        *self.0.entry(observation).or_default() += 1;
    }

    pub(super) fn of(&self, observation: Observation) -> u64 {
        self.0.get(&observation).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(observation, times)| *self.0.entry(*observation).or_default() += times);
    }

    /// Returns the observations that have not occurred.
    pub(super) fn missing(&self) -> Vec<Observation> {
        ALL.into_iter().filter(|observation| !self.0.contains_key(observation)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(observation, times)| writeln!(f, "{times:8}  {observation:?}"))
    }
}
