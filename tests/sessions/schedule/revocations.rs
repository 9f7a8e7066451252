//! Revocations with their times and without expiries. The store's record contains all revocations. The record of a node
//! contains the revocations that the node must apply.

use std::collections::{BTreeMap, HashMap};

use sealjar::id::{Kid, Sid};
use sealjar::revocation::Entry;
use sealjar::session::Identity;
use sealjar::session::claims::Claims;

/// Revoked sessions, accounts and keys. Each time is the true time of the revocation, in seconds since the start. Times in the
/// record of a node are not used.
#[derive(Debug, Clone, Default)]
pub(super) struct Revocations {
    sessions: HashMap<Sid, u64>,
    /// Id of each account, the generation below which its sessions are revoked, and the time of the revocation.
    subjects: Vec<(Box<str>, u64, u64)>,
    keys: BTreeMap<Kid, u64>,
    /// Global generations below which all sessions are revoked, each with the time of its revocation.
    pub(super) everyone: Vec<(u64, u64)>,
}

impl Revocations {
    pub(super) fn add(&mut self, entry: &Entry, at: u64) {
        match entry {
            Entry::Session { sid, .. } => {
                self.sessions.entry(*sid).or_insert(at);
            }
            Entry::Subject { sub, below, .. } => self.subjects.push((sub.clone(), *below, at)),
            Entry::Key { kid } => {
                self.keys.entry(*kid).or_insert(at);
            }
        }
    }

    /// Adds all revocations of another record.
    pub(super) fn merge(&mut self, other: &Self) {
        other.sessions.iter().for_each(|(sid, at)| _ = self.sessions.entry(*sid).or_insert(*at));
        self.subjects.clone_from(&merged(&self.subjects, &other.subjects));
        self.everyone.clone_from(&other.everyone);
        other.keys.iter().for_each(|(kid, at)| _ = self.keys.entry(*kid).or_insert(*at));
    }

    /// Returns the time at which this session was revoked, or `None` if it was not.
    pub(super) fn session_revoked_at(&self, claims: &Claims<'_>) -> Option<u64> {
        let session = self.sessions.get(&claims.sid).copied();
        let Identity { sub, account_generation, global_generation, .. } = claims.identity;
        let account_or_everyone = self.generation_revoked_at(sub, account_generation, global_generation);
        session.into_iter().chain(account_or_everyone).min()
    }

    /// Returns the time at which this key was revoked in the log, or `None` if it was not.
    pub(super) fn key_revoked_at(&self, kid: Kid) -> Option<u64> {
        self.keys.get(&kid).copied()
    }

    /// Returns the time at which all sessions of these generations were revoked, or `None` if they were not.
    pub(super) fn generation_revoked_at(
        &self,
        sub: &str,
        account_generation: u64,
        global_generation: u64,
    ) -> Option<u64> {
        let subject =
            self.subjects.iter().filter(|(revoked, below, _)| **revoked == *sub && account_generation < *below);
        let everyone = self.everyone.iter().filter(|(below, _)| global_generation < *below);
        subject.map(|(_, _, at)| *at).chain(everyone.map(|(_, at)| *at)).min()
    }
}

/// Returns all elements of `mine`, and the elements of `theirs` that `mine` does not contain.
fn merged<T: Clone + PartialEq>(mine: &[T], theirs: &[T]) -> Vec<T> {
    let new = theirs.iter().filter(|each| !mine.contains(each));
    mine.iter().chain(new).cloned().collect()
}
