//! Model of the store in `src/store/sqlite/`, with a record of all revocations that is never pruned.

use std::collections::BTreeMap;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, UnixTime};
use sealjar::id::{Kid, Sid};
use sealjar::revocation::Entry;
use sealjar::revocation::retention::{self, MaxLifetimes};
use sealjar::session::Lifetimes;

use super::revocations::Revocations;

pub(super) const USERS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) sub: &'static str,
    pub(super) generation: u64,
    /// Number of the current password.
    pub(super) password: u32,
    pub(super) disabled: bool,
}

/// Change of an account by an operator.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Password,
    Roles,
    Disable,
    Enable,
    EndSessions,
    Delete,
}

/// Revocation that a node commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revoke {
    /// Revokes one session. If its token is known, `token` has the absolute deadline and whether the session is remembered.
    Session { sid: Sid, token: Option<(UnixTime, bool)> },
    /// Revokes the sessions of an account with a generation below `below`.
    Subject { sub: &'static str, below: u64 },
}

/// Counters of the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) global_generation: u64,
    pub(super) pruned_through: UnixTime,
}

/// Row of the table `lifetime_in_use`.
struct InUse {
    remembered: bool,
    longest: MaxLifetimes,
    used_until: UnixTime,
}

/// Latest report of a node: the keys with which it opens tokens, and the time of the report.
pub(super) struct Report {
    pub(super) kids: Vec<Kid>,
    pub(super) at: u64,
    /// Whether the node fails open. It may then serve for a day without the store, and otherwise for five minutes.
    pub(super) fail_open: bool,
}

pub(super) struct Store {
    pub(super) accounts: [Option<Account>; USERS],
    /// Number of the current password of each user. A new password gets the next number.
    pub(super) passwords: [u32; USERS],
    pub(super) state: State,
    clock_reached: UnixTime,
    in_use: Vec<InUse>,
    log: Vec<(u64, Entry)>,
    last_seq: u64,
    /// Number of accounts that have been created. The next `sub` is derived from it.
    subjects: u64,
    pub(super) revocations: Revocations,
    /// Latest report of each node, by its number.
    pub(super) reports: BTreeMap<usize, Report>,
}

impl Store {
    pub(super) fn new() -> Self {
        let mut store = Self {
            accounts: [const { None }; USERS],
            passwords: [0; USERS],
            state: State { global_generation: 1, pruned_through: UnixTime(0) },
            clock_reached: UnixTime(0),
            in_use: Vec::new(),
            log: Vec::new(),
            last_seq: 0,
            subjects: 0,
            revocations: Revocations::default(),
            reports: BTreeMap::new(),
        };
        (0..USERS).for_each(|user| store.add_account(user));
        store
    }

    /// Adds the account of a user if there is none. Each new account gets a new `sub`.
    pub(super) fn add_account(&mut self, user: usize) {
        if self.accounts[user].is_none() {
            self.subjects += 1;
            self.passwords[user] += 1;
            // Claims borrow their texts. A leak of a few bytes per schedule is acceptable.
            let sub = Box::leak(format!("{:016x}", self.subjects).into_boxed_str());
            self.accounts[user] = Some(Account { sub, generation: 1, password: self.passwords[user], disabled: false });
        }
    }

    /// Commits a batch in one transaction. `at` is the true time, which is used only for the record of revocations.
    pub(super) fn revoke(&mut self, batch: &[Revoke], now: UnixTime, at: u64) -> Vec<Entry> {
        let committed_at = retention::commit_time(now, self.state.pruned_through, self.clock_reached);
        let entries: Vec<Entry> = batch.iter().map(|revoke| self.entry(*revoke, committed_at)).collect();
        for (revoke, entry) in batch.iter().zip(&entries) {
            if let Revoke::Subject { sub, below } = *revoke {
                let is_same = |account: &&mut Account| account.sub == sub;
                if let Some(account) = self.accounts.iter_mut().flatten().find(is_same) {
                    account.generation = account.generation.max(below);
                }
            }
            self.last_seq += 1;
            self.log.push((self.last_seq, entry.clone()));
            self.revocations.add(entry, at);
        }
        entries
    }

    /// Returns the log entry for a revocation.
    fn entry(&self, revoke: Revoke, committed_at: UnixTime) -> Entry {
        let expiry =
            |absolute, remembered| retention::expiry(committed_at, absolute, self.longest(remembered, committed_at));
        match revoke {
            Revoke::Session { sid, token: Some((absolute, remembered)) } => {
                Entry::Session { sid, expires_at: expiry(Some(absolute), Some(remembered)) }
            }
            Revoke::Session { sid, token: None } => Entry::Session { sid, expires_at: expiry(None, None) },
            Revoke::Subject { sub, below } => Entry::Subject { sub: sub.into(), below, expires_at: expiry(None, None) },
        }
    }

    /// Returns the maximum lifetimes in use for remembered or for ordinary sessions, or for both if `remembered` is `None`.
    fn longest(&self, remembered: Option<bool>, now: UnixTime) -> MaxLifetimes {
        let last = self.in_use.iter().map(|row| row.used_until).max();
        let counts = |row: &&InUse| {
            remembered.is_none_or(|remembered| remembered == row.remembered)
                && (row.used_until.plus(row.longest.absolute).plus(2 * CLOCK_SKEW) >= now
                    || Some(row.used_until) == last)
        };
        self.in_use.iter().filter(counts).fold(MaxLifetimes::default(), |maximum, InUse { longest, .. }| MaxLifetimes {
            idle: maximum.idle.max(longest.idle),
            absolute: maximum.absolute.max(longest.absolute),
            lag: maximum.lag.max(longest.lag),
            fail_open: maximum.fail_open || longest.fail_open,
        })
    }

    pub(super) fn change_account(&mut self, user: usize, change: Change, now: UnixTime, at: u64) {
        let Some(Account { sub, generation, .. }) = self.accounts[user] else { return };
        if !matches!(change, Change::Enable) {
            self.revoke(&[Revoke::Subject { sub, below: generation + 1 }], now, at);
        }
        let Some(account) = &mut self.accounts[user] else { return };
        match change {
            Change::Password => {
                self.passwords[user] += 1;
                account.password = self.passwords[user];
            }
            Change::Disable => account.disabled = true,
            Change::Enable => account.disabled = false,
            Change::Delete => self.accounts[user] = None,
            Change::Roles | Change::EndSessions => {}
        }
    }

    /// Changes a password as its user requested. Returns the new generation and the entry, or `None` if the account has changed
    /// since it was read as `read`.
    pub(super) fn change_own_password(
        &mut self,
        user: usize,
        read: &Account,
        now: UnixTime,
        at: u64,
    ) -> Option<(u64, Entry)> {
        let current = self.accounts[user].as_ref()?;
        if (current.sub, current.generation, current.disabled) != (read.sub, read.generation, false) {
            return None;
        }
        let below = read.generation + 1;
        let entry = self.revoke(&[Revoke::Subject { sub: read.sub, below }], now, at).pop()?;
        self.passwords[user] += 1;
        self.accounts[user].as_mut()?.password = self.passwords[user];
        Some((below, entry))
    }

    pub(super) fn revoke_key(&mut self, kid: Kid, at: u64) {
        self.last_seq += 1;
        let entry = Entry::Key { kid };
        self.revocations.add(&entry, at);
        self.log.push((self.last_seq, entry));
    }

    pub(super) fn revoke_everyone(&mut self, at: u64) {
        self.state.global_generation += 1;
        self.revocations.everyone.push((self.state.global_generation, at));
    }

    pub(super) fn entries_after(&self, seq: u64) -> Vec<(u64, Entry)> {
        self.log.iter().filter(|(number, _)| *number > seq).cloned().collect()
    }

    pub(super) fn record_sealing(
        &mut self,
        lifetimes: Lifetimes,
        lag: Duration,
        fail_open: bool,
        reached: UnixTime,
        until: UnixTime,
    ) {
        self.clock_reached = self.clock_reached.max(reached);
        for (remembered, lifetime) in [(false, lifetimes.ordinary), (true, lifetimes.remembered)] {
            let longest = MaxLifetimes { idle: lifetime.idle, absolute: lifetime.absolute, lag, fail_open };
            let is_same = |row: &&mut InUse| (row.remembered, row.longest) == (remembered, longest);
            match self.in_use.iter_mut().find(is_same) {
                Some(row) => row.used_until = row.used_until.max(until),
                None => self.in_use.push(InUse { remembered, longest, used_until: until }),
            }
        }
    }

    pub(super) fn record_pruned_through(&mut self, instant: UnixTime) {
        self.state.pruned_through = self.state.pruned_through.max(instant);
    }

    pub(super) fn delete_expired(&mut self, instant: UnixTime) {
        self.log.retain(|(_, entry)| entry.expires_at() >= instant);
    }
}
