//! Failed passwords are limited, in memory that never grows, and without locking anybody out of their own account.
//!
//! Three limits, each a [`Rate`]:
//! * by **network**: failures from one client's network, whatever the account;
//! * by **account and network**: failures for one account from one network;
//! * by **account**: failures for one account from all networks that are strange to it. A network is known to an account for 30 days
//!   after a sign-in from there, so its user is not concerned when strangers elsewhere use this limit up. Whoever brings a token
//!   of the account, live or not, is no stranger either, and is counted by the session's id and not by the network.
//!
//! An attempt is charged when it is let in, so that many at once are no way round, and refunded when it succeeds or was never
//! checked. A success forgets the failures for that account from that network (NIST SP 800-63B section 3.2.2) and nothing else:
//! a guesser who signs in to an account of its own in between gains nothing by it. Accounts are known here by the names that
//! were typed, whether they exist or not. Everything is forgotten at a restart.

mod rate;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::account::LoginName;
use crate::clock::milliseconds;
use crate::id::Sid;
use crate::network::Network;
pub(crate) use rate::Rate;
use table::Table;

/// How long a network is known to an account after a sign-in.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Places of the tables, as powers of two: of failures by network, by account and network, and by account; of known networks.
const FAILURES_BITS: u32 = 16;
const KNOWN_BITS: u32 = 18;

/// The three limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) network: Rate,
    pub(crate) account_and_network: Rate,
    pub(crate) account: Rate,
}

/// Which limit stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Network,
    AccountAndNetwork,
    Account,
}

impl Limit {
    /// As the log calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::AccountAndNetwork => "account-and-network",
            Self::Account => "account",
        }
    }
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) by: Limit,
    /// After this another attempt may be made, if nobody else makes one.
    pub(crate) wait: Duration,
}

/// An attempt to sign in, as far as it is known before the password is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginAttempt<'a> {
    pub(crate) account: &'a LoginName,
    pub(crate) network: Network,
    /// A session of this account whose token came with the request.
    pub(crate) session: Option<Sid>,
}

/// Counts failures.
#[derive(Debug)]
pub(crate) struct Throttle {
    secret: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    limits: Limits,
    networks: Table,
    pairs: Table,
    accounts: Table,
    known: Table,
}

/// An attempt that was let in and charged. Dropped, it stays charged: as a failure, whatever became of the client.
#[must_use]
#[derive(Debug)]
pub(crate) struct Attempt<'t> {
    throttle: &'t Throttle,
    network: u64,
    pair: u64,
    account: u64,
    known: u64,
    /// Whether the account's own limit was charged.
    is_stranger: bool,
}

impl Throttle {
    pub(crate) fn new(limits: Limits) -> Self {
        let failures = || Table::new(FAILURES_BITS);
        let known = Table::new(KNOWN_BITS);
        let tables = Tables { limits, networks: failures(), pairs: failures(), accounts: failures(), known };
        Self { secret: RandomState::new(), tables: Mutex::new(tables) }
    }

    /// From now on these limits hold; what was charged stays.
    pub(crate) fn limit_to(&self, limits: Limits) {
        self.tables().limits = limits;
    }

    /// Lets an attempt in and charges it, or says how long to wait. `now` is the boot clock's.
    pub(crate) fn admit(&self, attempt: LoginAttempt<'_>, now: Duration) -> Result<Attempt<'_>, Throttled> {
        let LoginAttempt { account, network, session } = attempt;
        let now = milliseconds(now);
        let known = self.key((account.as_str(), network));
        let pair = session.map_or(known, |sid| self.key((account.as_str(), sid.as_bytes())));
        let (network, account) = (self.key(network), self.key(account.as_str()));
        let mut tables = self.tables();
        let is_stranger = session.is_none() && tables.known.deadline(known) <= now;
        let Limits { network: by_network, account_and_network: by_pair, account: by_account } = tables.limits;
        let waits = [
            (Limit::Network, by_network.wait(tables.networks.deadline(network), now)),
            (Limit::AccountAndNetwork, by_pair.wait(tables.pairs.deadline(pair), now)),
            (Limit::Account, if is_stranger { by_account.wait(tables.accounts.deadline(account), now) } else { 0 }),
        ];
        let (by, wait) = waits.into_iter().max_by_key(|(_, wait)| *wait).expect("there are three");
        if wait > 0 {
            return Err(Throttled { by, wait: Duration::from_millis(wait) });
        }
        tables.networks.update(network, |deadline| by_network.charged(deadline, now));
        tables.pairs.update(pair, |deadline| by_pair.charged(deadline, now));
        if is_stranger {
            tables.accounts.update(account, |deadline| by_account.charged(deadline, now));
        }
        Ok(Attempt { throttle: self, network, pair, account, known, is_stranger })
    }

    fn key(&self, of: impl Hash) -> u64 {
        self.secret.hash_one(of)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No code between two changes of a table can panic and leave it half changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Whether whoever makes it is a stranger to the account.
    pub(crate) const fn is_stranger(&self) -> bool {
        self.is_stranger
    }

    /// The password was right.
    pub(crate) fn succeeded(self, now: Duration) {
        let known_until = milliseconds(now.saturating_add(KNOWN_FOR));
        let mut tables = self.refund();
        tables.pairs.update(self.pair, |_| 0);
        tables.known.update(self.known, |_| known_until);
    }

    /// It was not looked at: nothing was learned by it.
    pub(crate) fn withdrawn(self) {
        let mut tables = self.refund();
        let by_pair = tables.limits.account_and_network;
        tables.pairs.update(self.pair, |deadline| by_pair.refunded(deadline));
    }

    fn refund(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.throttle.tables();
        let Limits { network: by_network, account: by_account, .. } = tables.limits;
        tables.networks.update(self.network, |deadline| by_network.refunded(deadline));
        if self.is_stranger {
            tables.accounts.update(self.account, |deadline| by_account.refunded(deadline));
        }
        tables
    }
}
