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

/// Who makes an attempt, as far as that is known before the password is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
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
    pub(crate) fn admit(&self, claimant: Claimant<'_>, now: Duration) -> Result<Attempt<'_>, Throttled> {
        let Claimant { account, network, session } = claimant;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const LIMITS: Limits = Limits {
        network: Rate { burst: 20, interval: Duration::from_secs(6) },
        account_and_network: Rate { burst: 5, interval: Duration::from_secs(60) },
        account: Rate { burst: 50, interval: Duration::from_secs(60) },
    };
    const NOW: Duration = Duration::from_secs(1_000);

    fn name(text: &str) -> LoginName {
        text.parse().expect("a login name")
    }

    fn network(number: u32) -> Network {
        IpAddr::V4(Ipv4Addr::from_bits(number)).into()
    }

    /// One failed attempt, if it is let in.
    fn fail(throttle: &Throttle, account: &str, from: u32) -> Result<(), Limit> {
        let account = &name(account);
        let claimant = Claimant { account, network: network(from), session: None };
        throttle.admit(claimant, NOW).map(drop).map_err(|throttled| throttled.by)
    }

    fn succeed(
        throttle: &Throttle,
        account: &str,
        from: u32,
        session: Option<Sid>,
        now: Duration,
    ) -> Result<(), Limit> {
        let claimant = Claimant { account: &name(account), network: network(from), session };
        throttle.admit(claimant, now).map(|attempt| attempt.succeeded(now)).map_err(|throttled| throttled.by)
    }

    /// Uses up the account's own limit from many networks.
    fn attack(throttle: &Throttle, account: &str) {
        let tries = (1_000..2_000).map(|from| fail(throttle, account, from));
        assert_eq!(tries.filter(Result::is_ok).count(), 50);
        assert_eq!(
            fail(throttle, account, 5_000),
            Err(Limit::Account),
            "a network that never failed, but a stranger's"
        );
    }

    #[test]
    fn failures_from_one_network_stop_neither_others_nor_other_accounts() {
        let throttle = Throttle::new(LIMITS);
        assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
        assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork));
        assert_eq!((fail(&throttle, "alice", 2), fail(&throttle, "bob", 1)), (Ok(()), Ok(())));
        let others = (0..100).map(|number| fail(&throttle, &format!("user{number}"), 1));
        assert_eq!(others.filter(Result::is_ok).count(), 14, "20 from a network, whatever the accounts");
        assert_eq!(fail(&throttle, "carol", 1), Err(Limit::Network));
    }

    #[test]
    fn the_accounts_own_user_is_let_in_under_attack_from_elsewhere() {
        let throttle = Throttle::new(LIMITS);
        assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
        attack(&throttle, "alice");
        assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()), "from a network that is known to the account");
        assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Err(Limit::Account), "and not from one that is not");
        let sid = Some(Sid::from_bytes([1; 16]));
        assert_eq!(succeed(&throttle, "alice", 2, sid, NOW), Ok(()), "but with a token of the account");
        assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Ok(()), "whose network is known from then on");
        attack(&throttle, "bob");
        assert_eq!(
            succeed(&throttle, "bob", 1, None, NOW),
            Err(Limit::Account),
            "known to one account is not to another"
        );
    }

    #[test]
    fn a_network_is_known_for_thirty_days() {
        let throttle = Throttle::new(Limits { account: Rate { burst: 1, interval: KNOWN_FOR * 2 }, ..LIMITS });
        assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
        assert_eq!(fail(&throttle, "alice", 2), Ok(()));
        let almost = NOW + KNOWN_FOR - Duration::from_secs(1);
        let known = |now| throttle.admit(Claimant { account: &name("alice"), network: network(1), session: None }, now);
        assert!(known(almost).is_ok());
        assert!(known(almost + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_guesser_with_a_stolen_token_has_no_more_tries_than_one_network() {
        let throttle = Throttle::new(LIMITS);
        let alice = name("alice");
        let tries = (0..100).map(|from| {
            let session = Some(Sid::from_bytes([1; 16]));
            throttle.admit(Claimant { account: &alice, network: network(from), session }, NOW).map(drop)
        });
        assert_eq!(tries.filter(Result::is_ok).count(), 5);
    }

    #[test]
    fn a_success_forgets_the_failures_of_its_own_account_and_network_only() {
        let throttle = Throttle::new(LIMITS);
        for _ in 0..10 {
            assert!((0..4).all(|_| matches!(fail(&throttle, "alice", 1), Ok(()) | Err(Limit::Network))));
            let _ = succeed(&throttle, "alice", 1, None, NOW);
        }
        assert_eq!(fail(&throttle, "alice", 1), Err(Limit::Network), "the network's failures stay");
        assert!((0..50).all(|_| succeed(&throttle, "bob", 2, None, NOW).is_ok()), "successes are not counted");
    }

    #[test]
    fn many_at_once_are_charged_before_the_first_is_checked_and_what_was_not_checked_is_refunded() {
        let throttle = Throttle::new(LIMITS);
        let alice = name("alice");
        let admit = || throttle.admit(Claimant { account: &alice, network: network(1), session: None }, NOW);
        let mut waiting: Vec<_> = (0..5).map(|_| admit().expect("let in")).collect();
        assert_eq!(admit().expect_err("five wait already").wait, Duration::from_secs(60));
        waiting.pop().expect("one of five").withdrawn();
        waiting.push(admit().expect("in its place"));
        drop(waiting);
        assert!(admit().is_err(), "those that ended without an answer were failures");
    }

    #[test]
    fn a_million_accounts_and_networks_take_no_more_memory_and_hide_nobody() {
        let throttle = Throttle::new(LIMITS);
        assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
        for number in 0..1_000_000 {
            assert_eq!(fail(&throttle, &format!("user{number}"), 1_000 + number), Ok(()));
        }
        assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork), "who failed most is remembered best");
        let Tables { networks, pairs, accounts, known, .. } = &*throttle.tables();
        let bytes: usize = [networks, pairs, accounts, known].map(Table::bytes).iter().sum();
        println!("the throttle takes {bytes} bytes after a million accounts and networks, as before");
        assert_eq!(bytes, 7 << 20);
    }
}
