//! Limits on passwords, in memory of a fixed size. They lock no user out of their own account.
//!
//! Failed passwords have these limits, each a [`Rate`]:
//! * by **network**: failures from one client network, whatever the account. An IPv6 /48 has ten times the limit of a /64;
//! * by **account and network**: failures for one account from one network;
//! * by **account**: failures for one account from all networks that are not known to it. A network is known to an account for 30
//!   days after a sign-in from there, so that strangers elsewhere do not keep its user out;
//! * by **own session**: failures of a client whose token belongs to a session of the account. None of the limits above applies
//!   to it, so that others cannot keep the user out, not even in the user's own network. If this limit is reached, the client
//!   counts like one without a token. An account has at most sixteen of these limits at a time.
//!
//! Correct passwords have one limit, by account and network, and an IPv6 /48 again has ten times that of a /64. It bounds the
//! revocation list, because each sign-in can add an entry to it.
//!
//! An attempt is charged to all its limits when it is admitted, so many attempts at once do not pass one. Its outcome refunds some:
//! a correct password those on failures, a wrong one that on correct passwords, and an attempt that was not checked all. An attempt
//! that only others in progress keep out waits for their outcome ([`in_progress`]).
//!
//! A correct password also resets the failures of its account from its network (NIST SP 800-63B section 3.2.2), and nothing else: a
//! guesser gains nothing by signing in to an account of their own in between. Accounts are known here by the names that were typed,
//! whether they exist or not. A restart resets everything.

mod counts;
mod in_progress;
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
use counts::{Count, Keys, Tables};
pub(crate) use counts::{Limit, Limits, Throttled};
use in_progress::Waits;
pub(crate) use rate::Rate;
use table::Key;

/// How long a network is known to an account after a sign-in.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// A session of the account whose token came with the request, and which the revocation list does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OwnSession {
    Live(Sid),
    /// Idle for too long. All such sessions of an account share one limit, because the list forgets which of them were ended.
    Idle,
}

/// An attempt to sign in, as far as it is known before the password is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginAttempt<'a> {
    pub(crate) account: &'a LoginName,
    pub(crate) network: Network,
    pub(crate) session: Option<OwnSession>,
}

/// Counts passwords.
#[derive(Debug)]
pub(crate) struct Throttle {
    secret: RandomState,
    tables: Mutex<Tables>,
    waits: Waits,
}

/// An attempt that was admitted and charged. If it is dropped without an outcome, it stays charged.
#[must_use]
#[derive(Debug)]
pub(crate) struct Attempt<'t> {
    throttle: &'t Throttle,
    keys: Keys,
    /// Counts that were charged.
    charged: Vec<Count>,
    is_stranger: bool,
}

impl Throttle {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { secret: RandomState::new(), tables: Mutex::new(Tables::new(limits)), waits: Waits::new() }
    }

    /// Sets the limits. The counts stay.
    pub(crate) fn limit_to(&self, limits: Limits) {
        self.tables().limits = limits;
    }

    /// Does the same as [`Throttle::admit`]. If only attempts in progress keep this one out, it first waits for their outcome.
    pub(crate) async fn admit_in_turn(
        &self,
        attempt: LoginAttempt<'_>,
        now: impl Fn() -> Duration,
    ) -> Result<Attempt<'_>, Throttled> {
        let admit = || {
            let outcome = self.admit(attempt, now());
            let is_final = !outcome.as_ref().is_err_and(|throttled| throttled.may_pass_soon);
            (outcome, is_final)
        };
        self.waits.until_final(admit).await
    }

    /// Admits an attempt and charges it, or returns how long to wait. `now` is the boot clock's.
    pub(crate) fn admit(&self, attempt: LoginAttempt<'_>, now: Duration) -> Result<Attempt<'_>, Throttled> {
        let LoginAttempt { account, network, session } = attempt;
        let now = milliseconds(now);
        let name = account.as_str();
        let keys = Keys {
            network: self.key(network),
            site: network.site().map(|site| self.key((site, "/48"))),
            pair: self.key((name, network)),
            pair_site: network.site().map(|site| self.key((name, site, "/48"))),
            account: self.key(name),
        };
        let session = session.map(|session| Key { set: keys.account.set, ..self.key((name, session)) });
        let mut tables = self.tables();
        let rate = tables.limits.account_and_network;
        // If that limit is off, a token is no better than none: it would be the way around all other limits.
        let own = session.filter(|key| rate.burst > 0 && tables.table(Limit::OwnSession).has_place(*key, now));
        let own = own.map(|key| vec![Count { limit: Limit::OwnSession, key, rate }]);
        let of_network = tables.counts_of_network(keys, now);
        // A token never makes it worse: another client may have used up its limit with a token of the same account.
        let mut refused = Vec::new();
        for counts in own.into_iter().chain([of_network]) {
            let counts: Vec<Count> = counts.into_iter().chain(tables.success_counts(keys)).collect();
            let Some(throttled) = tables.refusal(&counts, now) else {
                counts.iter().for_each(|count| tables.charge(*count, now));
                let is_stranger = counts.iter().any(|count| count.limit == Limit::Account);
                return Ok(Attempt { throttle: self, keys, charged: counts, is_stranger });
            };
            refused.push(throttled);
        }
        let may_pass_soon = refused.iter().any(|throttled| throttled.may_pass_soon);
        let shortest = refused.into_iter().min_by_key(|throttled| throttled.wait).expect("one is of the network");
        Err(Throttled { may_pass_soon, ..shortest })
    }

    fn key(&self, of: impl Hash) -> Key {
        Key::alone(self.secret.hash_one(of))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No code between two changes of a table can panic and leave it half changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Whether the client is a stranger to the account.
    pub(crate) const fn is_stranger(&self) -> bool {
        self.is_stranger
    }

    /// The token that came with the attempt is of an earlier account with this name, or of sessions that were ended. So the attempt
    /// also counts like one without a token, as far as these limits have room.
    pub(crate) fn disown_session(&mut self, now: Duration) {
        if self.charged.iter().all(|count| count.limit != Limit::OwnSession) {
            return;
        }
        let now = milliseconds(now);
        let mut tables = self.throttle.tables();
        for count in tables.counts_of_network(self.keys, now) {
            self.is_stranger |= count.limit == Limit::Account;
            if tables.wait(count, 0, now) == 0 {
                tables.charge(count, now);
                self.charged.push(count);
            }
        }
    }

    /// The password was correct.
    pub(crate) fn succeeded(self, now: Duration) {
        let known_until = milliseconds(now.saturating_add(KNOWN_FOR));
        let mut tables = self.throttle.tables();
        for count in self.charged.iter().copied() {
            match count.limit {
                Limit::AccountAndNetwork | Limit::OwnSession => tables.table_mut(count.limit).update(count.key, |_| 0),
                Limit::Network | Limit::Account => tables.refund(count),
                Limit::Success => {}
            }
        }
        tables.known.update(self.keys.pair, |_| known_until);
    }

    /// The password was wrong, or no session may begin with it.
    pub(crate) fn failed(self) {
        let mut tables = self.throttle.tables();
        let successes = self.charged.iter().filter(|count| count.limit == Limit::Success);
        successes.for_each(|count| tables.refund(*count));
    }

    /// The password was not checked, so nothing was learned.
    pub(crate) fn withdrawn(self) {
        let mut tables = self.throttle.tables();
        self.charged.iter().for_each(|count| tables.refund(*count));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut tables = self.throttle.tables();
        self.charged.iter().for_each(|count| tables.in_progress.end(&count.place()));
        drop(tables);
        self.throttle.waits.wake();
    }
}
