//! The limits, and a table of counts for each kind of limit.

use std::time::Duration;

use super::in_progress::InProgress;
use super::rate::Rate;
use super::table::{Key, Millis, Table};

/// How many limits by own session an account can have at a time.
const OWN_SESSIONS: usize = 16;
/// How many times the limit of an IPv6 /64 a /48 has.
const SITE_FACTOR: u32 = 10;
/// Number of places of a table, as a power of two.
const BITS: u32 = 16;
const KNOWN_BITS: u32 = 18;
/// Places in which a key can be stored.
const WAYS: usize = 8;

/// The limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) network: Rate,
    /// Also that of an own session.
    pub(crate) account_and_network: Rate,
    pub(crate) account: Rate,
    /// Of correct passwords.
    pub(crate) success: Rate,
}

/// A limit that an attempt reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    Network,
    AccountAndNetwork,
    Account,
    OwnSession,
    Success,
}

impl Limit {
    /// Its name in the log.
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

/// An attempt that is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) by: Limit,
    /// After this time another attempt is admitted, if nobody else makes one.
    pub(crate) wait: Duration,
    /// Whether it would be admitted if all attempts in progress were refunded.
    pub(super) may_pass_soon: bool,
}

/// A count of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) limit: Limit,
    pub(super) key: Key,
    pub(super) rate: Rate,
}

impl Count {
    /// Tells it from all others.
    pub(super) const fn place(&self) -> (Limit, u64) {
        (self.limit, self.key.id)
    }
}

/// The keys of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) network: Key,
    pub(super) site: Option<Key>,
    pub(super) pair: Key,
    /// The account and the /48.
    pub(super) pair_site: Option<Key>,
    pub(super) account: Key,
}

/// All counts.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) limits: Limits,
    pub(super) in_progress: InProgress<(Limit, u64)>,
    /// A table for each kind of [`Limit`], in their order.
    pub(super) counts: [Table; 5],
    pub(super) known: Table,
}

impl Tables {
    pub(super) fn new(limits: Limits) -> Self {
        let ways = [WAYS, WAYS, WAYS, OWN_SESSIONS, WAYS];
        let counts = ways.map(|ways| Table::new(BITS, ways));
        Self { limits, in_progress: InProgress::default(), counts, known: Table::new(KNOWN_BITS, WAYS) }
    }

    /// The counts of failures of an attempt without a session.
    pub(super) fn counts_of_network(&self, keys: Keys, now: Millis) -> Vec<Count> {
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

    pub(super) fn success_counts(&self, keys: Keys) -> impl Iterator<Item = Count> + use<> {
        let rate = self.limits.success;
        let site = keys.pair_site.map(|key| Count { limit: Limit::Success, key, rate: rate.times(SITE_FACTOR) });
        std::iter::once(Count { limit: Limit::Success, key: keys.pair, rate }).chain(site)
    }

    /// Why an attempt with these counts is not admitted, if it is not.
    pub(super) fn refusal(&self, counts: &[Count], now: Millis) -> Option<Throttled> {
        let waits = counts.iter().map(|count| (count.limit, self.wait(*count, 0, now)));
        let (by, wait) = waits.max_by_key(|(_, wait)| *wait).filter(|(_, wait)| *wait > 0)?;
        let refunded = |count: &Count| self.wait(*count, self.in_progress.number(&count.place()), now);
        let may_pass_soon = counts.iter().all(|count| refunded(count) == 0);
        Some(Throttled { by, wait: Duration::from_millis(wait), may_pass_soon })
    }

    /// How long until another attempt is admitted, if this number of attempts is refunded.
    pub(super) fn wait(&self, Count { limit, key, rate }: Count, refunded: u32, now: Millis) -> Millis {
        rate.wait(rate.refunded(self.table(limit).deadline(key), refunded), now)
    }

    /// Charges an attempt that begins.
    pub(super) fn charge(&mut self, count: Count, now: Millis) {
        let Count { limit, key, rate } = count;
        self.table_mut(limit).update(key, |deadline| rate.charged(deadline, now));
        self.in_progress.begin(count.place());
    }

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
