//! The limits, and a table of counts for each of them.
//!
//! A count is the deadline of one key, such as a network, in one of the tables (`table.rs`). The methods here charge and refund
//! counts.

use std::time::Duration;

use super::in_progress::InProgress;
use super::rate::Rate;
use super::table::{Key, Millis, Table};

/// Maximum number of limits by own session that an account has at a time.
const MAX_OWN_SESSIONS: usize = 16;
/// Factor by which the limit of an IPv6 /48 is higher than the limit of a /64.
const SITE_FACTOR: u32 = 10;
/// Base-2 logarithm of the number of slots of a table of counts.
const COUNT_BITS: u32 = 16;
/// Base-2 logarithm of the number of slots of the table of known networks.
const KNOWN_BITS: u32 = 18;
/// Number of slots of a set: a key can be stored in each of them.
const WAYS: usize = 8;

/// Rates of all limits, from the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Limit on failures by network.
    pub(crate) network: Rate,
    /// Limit on failures by account and network. The limit by own session has the same rate.
    pub(crate) account_and_network: Rate,
    /// Limit on failures by account.
    pub(crate) account: Rate,
    /// Limit on correct passwords by account and network.
    pub(crate) success: Rate,
}

/// Type of a limit. The module documentation of `throttle.rs` describes each one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// Failures from one network.
    Network,
    /// Failures for one account from one network.
    AccountAndNetwork,
    /// Failures for one account from networks that are not known to it.
    Account,
    /// Failures of clients with a token of one session of the account.
    OwnSession,
    /// Correct passwords for one account from one network.
    Success,
}

impl Limit {
    /// Returns the name of the limit in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::AccountAndNetwork => "account-and-network",
            Self::Account => "account",
            Self::OwnSession => "session",
            Self::Success => "success",
        }
    }
}

/// Error for an attempt that is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// Limit that is reached.
    pub(crate) by: Limit,
    /// Time after which another attempt is admitted, if no other client makes one.
    pub(crate) wait: Duration,
    /// Whether the attempt would be admitted if all attempts in progress were refunded.
    pub(super) may_pass_soon: bool,
}

/// A count of one limit: its key in the table of the limit, and its rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) limit: Limit,
    pub(super) key: Key,
    pub(super) rate: Rate,
}

impl Count {
    /// Returns an id that is unique among the counts of all limits.
    pub(super) const fn id(&self) -> (Limit, u64) {
        (self.limit, self.key.id)
    }
}

/// Keys of the counts of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// Network of the client.
    pub(super) network: Key,
    /// IPv6 /48 of the client. `None` for IPv4.
    pub(super) site: Option<Key>,
    /// Account and network.
    pub(super) pair: Key,
    /// Account and IPv6 /48. `None` for IPv4.
    pub(super) pair_site: Option<Key>,
    /// Account.
    pub(super) account: Key,
}

/// The tables of all counts, and the attempts in progress.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) limits: Limits,
    pub(super) in_progress: InProgress<(Limit, u64)>,
    /// A table of counts for each [`Limit`], in the order of its variants.
    pub(super) counts: [Table; 5],
    /// Pairs of account and network, with the time until which the network is known to the account.
    pub(super) known: Table,
}

impl Tables {
    pub(super) fn new(limits: Limits) -> Self {
        let ways = [WAYS, WAYS, WAYS, MAX_OWN_SESSIONS, WAYS];
        let counts = ways.map(|ways| Table::new(COUNT_BITS, ways));
        Self { limits, in_progress: InProgress::default(), counts, known: Table::new(KNOWN_BITS, WAYS) }
    }

    /// Returns the counts of failures for an attempt without a session.
    pub(super) fn failure_counts(&self, keys: Keys, now: Millis) -> Vec<Count> {
        let Limits { network, account_and_network, account, .. } = self.limits;
        let mut counts = vec![
            Count { limit: Limit::Network, key: keys.network, rate: network },
            Count { limit: Limit::AccountAndNetwork, key: keys.pair, rate: account_and_network },
        ];
        counts.extend(keys.site.map(|key| Count { limit: Limit::Network, key, rate: network.times(SITE_FACTOR) }));
        if self.known.deadline(keys.pair) <= now {
            counts.push(Count { limit: Limit::Account, key: keys.account, rate: account });
        }
        counts
    }

    /// Returns the counts of correct passwords for an attempt.
    pub(super) fn success_counts(&self, keys: Keys) -> impl Iterator<Item = Count> + use<> {
        let rate = self.limits.success;
        let site = keys.pair_site.map(|key| Count { limit: Limit::Success, key, rate: rate.times(SITE_FACTOR) });
        std::iter::once(Count { limit: Limit::Success, key: keys.pair, rate }).chain(site)
    }

    /// Returns the refusal of an attempt with these counts, or `None` if it is admitted.
    pub(super) fn refusal(&self, counts: &[Count], now: Millis) -> Option<Throttled> {
        let waits = counts.iter().map(|count| (count.limit, self.wait(*count, 0, now)));
        let (by, wait) = waits.max_by_key(|(_, wait)| *wait).filter(|(_, wait)| *wait > 0)?;
        let wait_after_refunds = |count: &Count| self.wait(*count, self.in_progress.number(&count.id()), now);
        let may_pass_soon = counts.iter().all(|count| wait_after_refunds(count) == 0);
        Some(Throttled { by, wait: Duration::from_millis(wait), may_pass_soon })
    }

    /// Returns the time until another attempt is admitted, assuming that `refunded` attempts are refunded.
    pub(super) fn wait(&self, Count { limit, key, rate }: Count, refunded: u32, now: Millis) -> Millis {
        rate.wait(rate.refunded(self.table(limit).deadline(key), refunded), now)
    }

    /// Charges an attempt to a count when the attempt begins.
    pub(super) fn charge(&mut self, count: Count, now: Millis) {
        let Count { limit, key, rate } = count;
        self.table_mut(limit).update(key, |deadline| rate.charged(deadline, now));
        self.in_progress.begin(count.id());
    }

    /// Refunds the charge of one attempt to a count.
    pub(super) fn refund(&mut self, Count { limit, key, rate }: Count) {
        self.table_mut(limit).update(key, |deadline| rate.refunded(deadline, 1));
    }

    pub(super) fn table(&self, limit: Limit) -> &Table {
        &self.counts[limit as usize]
    }

    pub(super) fn table_mut(&mut self, limit: Limit) -> &mut Table {
        &mut self.counts[limit as usize]
    }
}
