//! Rate limits for passwords, in memory of a fixed size. An attacker cannot use them to lock users out of their accounts.
//!
//! Failed passwords have these limits, each a [`Rate`]:
//! * by **network**: failures from one client network, for all accounts together. An IPv6 /48 has ten times the limit of a /64;
//! * by **account and network**: failures for one account from one network;
//! * by **account**: failures for one account from all networks that are not known to it. A network is known to an account for 30
//!   days after a login from this network, so that attackers in other networks cannot lock the user out;
//! * by **own session**: failures of a client that sends a token of a session of the account. The limits above do not apply to
//!   such a client, so attackers cannot lock the user out, even if they use the same network as the user. If this limit is
//!   reached, the token is ignored, and the limits above apply. An account has at most sixteen of these limits at a time.
//!
//! Correct passwords have one limit, by account and network. Again, an IPv6 /48 has ten times the limit of a /64. This bounds the
//! revocation list, because each login can add an entry to it.
//!
//! An attempt is charged to all its limits when it is admitted, so that many concurrent attempts cannot exceed a limit. Some of
//! the charges are refunded when the outcome is known. A correct password is refunded to the limits on failures. A wrong
//! password is refunded to the limit on correct passwords. An attempt whose password was not checked is refunded to all limits.
//! If an attempt is refused only because of attempts in progress, it waits for their outcome ([`in_progress`]).
//!
//! A correct password also resets the failures of its account from its network, or of its own session ([NIST SP
//! 800-63B](https://pages.nist.gov/800-63-4/sp800-63b.html), section 3.2.2). It resets no other count. So an attacker gains
//! nothing by logging in to another account between two guesses. Accounts are identified by the login names in the requests,
//! even if no such account exists. A restart resets all counts.
//!
//! Used by `sign_in.rs`. `counts.rs` has the limits, `rate.rs` their arithmetic, and `table.rs` the memory.

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

/// Time for which a network is known to an account after a login.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// A session of the account, whose token the client sent. The revocation list does not refuse the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OwnSession {
    /// A live session.
    Live(Sid),
    /// A session past its idle deadline. All such sessions of an account share one limit, because the revocation list may have
    /// removed its entries for revoked ones.
    Idle,
}

/// A login attempt before its password is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginAttempt<'a> {
    pub(crate) account: &'a LoginName,
    pub(crate) network: Network,
    pub(crate) session: Option<OwnSession>,
}

/// Counts password attempts, and decides whether another one is admitted.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Key of the hashes that identify networks and accounts in the tables.
    secret: RandomState,
    tables: Mutex<Tables>,
    waits: Waits,
}

/// An attempt that was admitted and charged. If it is dropped without a recorded outcome, all charges stay.
#[must_use]
#[derive(Debug)]
pub(crate) struct AdmittedAttempt<'t> {
    throttle: &'t Throttle,
    keys: Keys,
    /// Counts that were charged.
    charged: Vec<Count>,
    /// Whether the limit by account was charged: the client is not known to the account.
    is_unknown_client: bool,
}

impl Throttle {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { secret: RandomState::new(), tables: Mutex::new(Tables::new(limits)), waits: Waits::new() }
    }

    /// Replaces the limits. The counts stay.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.tables().limits = limits;
    }

    /// Calls [`Throttle::admit`]. If an attempt is refused only because of attempts in progress, waits for their outcome and
    /// tries again.
    pub(crate) async fn admit_or_wait(
        &self,
        attempt: LoginAttempt<'_>,
        now: impl Fn() -> Duration,
    ) -> Result<AdmittedAttempt<'_>, Throttled> {
        let admit = || {
            let outcome = self.admit(attempt, now());
            let is_final = !outcome.as_ref().is_err_and(|throttled| throttled.may_pass_soon);
            (outcome, is_final)
        };
        self.waits.until_final(admit).await
    }

    /// Admits an attempt and charges it. `now` is the time of the boot clock.
    ///
    /// # Errors
    /// The limit that is reached, and the time until another attempt is admitted.
    pub(crate) fn admit(&self, attempt: LoginAttempt<'_>, now: Duration) -> Result<AdmittedAttempt<'_>, Throttled> {
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
        // All own sessions of an account share one set of the table, whose size limits their number.
        let session = session.map(|session| Key { set: keys.account.set, ..self.key((name, session)) });
        let mut tables = self.tables();
        let rate = tables.limits.account_and_network;
        // If the limit by own session is off, the token is ignored. Otherwise it would bypass all other limits.
        let own_key = session.filter(|key| rate.burst > 0 && tables.table(Limit::OwnSession).has_slot(*key, now));
        let own_counts = own_key.map(|key| vec![Count { limit: Limit::OwnSession, key, rate }]);
        let failure_counts = tables.failure_counts(keys, now);
        // Try the limit by own session first, and then the limits by network and account. So a token is never a disadvantage,
        // even if another client has used up the limit of the same session.
        let mut refused = Vec::new();
        for counts in own_counts.into_iter().chain([failure_counts]) {
            let counts: Vec<Count> = counts.into_iter().chain(tables.success_counts(keys)).collect();
            let Some(throttled) = tables.refusal(&counts, now) else {
                counts.iter().for_each(|count| tables.charge(*count, now));
                let is_unknown_client = counts.iter().any(|count| count.limit == Limit::Account);
                return Ok(AdmittedAttempt { throttle: self, keys, charged: counts, is_unknown_client });
            };
            refused.push(throttled);
        }
        let may_pass_soon = refused.iter().any(|throttled| throttled.may_pass_soon);
        let shortest = refused
            .into_iter()
            .min_by_key(|throttled| throttled.wait)
            .expect("at least the limits by network were tried");
        Err(Throttled { may_pass_soon, ..shortest })
    }

    fn key(&self, value: impl Hash) -> Key {
        Key::new(self.secret.hash_one(value))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // After a panic, the tables are consistent: no code can panic between two changes that belong together.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdmittedAttempt<'_> {
    /// Returns whether the client is not known to the account.
    pub(crate) const fn is_unknown_client(&self) -> bool {
        self.is_unknown_client
    }

    /// Also charges the attempt to the limits for clients without a token, except for limits that are reached already. Called
    /// if the account, when it is read, shows that the token belongs to an earlier account with the same name or to a revoked
    /// session.
    pub(crate) fn charge_without_session(&mut self, now: Duration) {
        if self.charged.iter().all(|count| count.limit != Limit::OwnSession) {
            return;
        }
        let now = milliseconds(now);
        let mut tables = self.throttle.tables();
        for count in tables.failure_counts(self.keys, now) {
            self.is_unknown_client |= count.limit == Limit::Account;
            if tables.wait(count, 0, now) == 0 {
                tables.charge(count, now);
                self.charged.push(count);
            }
        }
    }

    /// Records that the password was correct.
    pub(crate) fn record_success(self, now: Duration) {
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

    /// Records that the password was wrong, or that the account may not log in.
    pub(crate) fn record_failure(self) {
        let mut tables = self.throttle.tables();
        let successes = self.charged.iter().filter(|count| count.limit == Limit::Success);
        successes.for_each(|count| tables.refund(*count));
    }

    /// Records that the password was not checked, so that the client learned nothing about it.
    pub(crate) fn record_unchecked(self) {
        let mut tables = self.throttle.tables();
        self.charged.iter().for_each(|count| tables.refund(*count));
    }
}

impl Drop for AdmittedAttempt<'_> {
    fn drop(&mut self) {
        let mut tables = self.throttle.tables();
        self.charged.iter().for_each(|count| tables.in_progress.end(&count.id()));
        drop(tables);
        self.throttle.waits.wake();
    }
}
