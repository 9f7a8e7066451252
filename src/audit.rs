//! Audit events: what happened to sessions, accounts and keys, one log line each, under one target that a filter can pick.
//!
//! Every line has the field `event`. `docs/reference/events.md` lists the events, their fields and all values. Clients appear as
//! `log.client` says, sessions as `sid`, keys as `kid`, accounts as `sub`. The login name that a request has never appears, because
//! some users type their password there. Events that cost a client nothing are logged ten times a second at most: the field
//! `left_out` of the next one is the number of events that were left out.

use tracing::field::display;

use crate::id::{Kid, Sid};
use crate::log_sampler::sampled;
use crate::metrics::{PASSWORDS, Password};
use crate::network::Client;
use crate::revocation::Entry;

/// The target of all of them.
pub(crate) const TARGET: &str = "sealjar::audit";

macro_rules! event {
    ($name:literal, $message:literal, $($fields:tt)+) => {
        tracing::info!(target: TARGET, event = $name, $($fields)+, $message)
    };
}

/// An event that a stranger can cause for nothing.
macro_rules! sampled_event {
    ($name:literal, $message:literal, $($fields:tt)+) => {
        sampled!(target: TARGET, INFO, event = $name, $($fields)+, $message)
    };
}

/// What a password was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    SignIn,
    StepUp,
    PasswordChange,
}

impl Purpose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::StepUp => "step-up",
            Self::PasswordChange => "password-change",
        }
    }
}

/// Why a password did not lead to a session; the client is told less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    UnknownAccount,
    WrongPassword,
    /// The stored hash cannot be checked, so no password is accepted.
    HashUnusable,
    Disabled,
    /// The account changed while the password was checked.
    ChangedMeanwhile,
    /// The password is right and must be changed first.
    MustChange,
}

impl Failure {
    const fn name(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown-account",
            Self::WrongPassword => "wrong-password",
            Self::HashUnusable => "hash-unusable",
            Self::Disabled => "disabled",
            Self::ChangedMeanwhile => "changed-meanwhile",
            Self::MustChange => "must-change",
        }
    }
}

/// A password was not checked, or the session after it could not begin, because the store, the list or the keys failed.
pub(crate) fn password_failed(purpose: Purpose) {
    count(purpose, Password::Error);
}

fn count(purpose: Purpose, kind: Password) {
    PASSWORDS[purpose as usize].add(kind as usize);
}

/// A fresh session was begun; the event is called after what the password was given for.
pub(crate) fn session_begun(purpose: Purpose, sub: &str, sid: Sid, remembered: bool, client: Client) {
    count(purpose, Password::Accepted);
    match purpose {
        Purpose::SignIn => event!("sign-in", "signed in", sub, sid = %sid, remembered, client = %client),
        Purpose::StepUp => event!("step-up", "gave the password again", sub, sid = %sid, remembered, client = %client),
        Purpose::PasswordChange => {
            event!("password-change", "changed the password", sub, sid = %sid, remembered, client = %client);
        }
    }
}

/// A new password is in force, and the session that should follow could not begin.
pub(crate) fn password_changed_only(sub: &str, client: Client) {
    event!("password-change", "changed the password, but no session began", sub, client = %client);
}

pub(crate) fn password_refused(purpose: Purpose, failure: Failure, sub: Option<&str>, client: Client) {
    let kind = match failure {
        Failure::UnknownAccount | Failure::WrongPassword | Failure::Disabled => Password::Refused,
        Failure::HashUnusable => Password::Error,
        Failure::ChangedMeanwhile => Password::ChangedMeanwhile,
        Failure::MustChange => Password::MustChange,
    };
    count(purpose, kind);
    // Not sampled: each cost its client the hashing of a password, and wrong ones are throttled.
    let (during, reason) = (purpose.name(), failure.name());
    event!("sign-in-failed", "a password led to no session", during, reason, sub, client = %client);
}

/// `limit` is the limit that stood in the way.
pub(crate) fn throttled(purpose: Purpose, limit: &'static str, client: Client) {
    count(purpose, Password::Throttled);
    let during = purpose.name();
    match limit {
        // One busy network must not hide the limit that an account ran into.
        "network" => sampled_event!("throttled", "too many attempts", during, limit, client = %client),
        _ => sampled_event!("throttled", "too many attempts", during, limit, client = %client),
    }
}

/// All threads that hash were busy and the queue was full.
pub(crate) fn overloaded(purpose: Purpose, client: Client) {
    count(purpose, Password::Overloaded);
    sampled_event!("overloaded", "too many passwords wait to be checked", during = purpose.name(), client = %client);
}

/// A token was presented and refused.
pub(crate) fn token_refused(cause: &'static str, client: Client) {
    match cause {
        // Anybody can make these up, so they must not hide the others.
        "malformed" | "unknown-key" | "not-authentic" => {
            sampled_event!("token-refused", "refused a token", cause, client = %client);
        }
        _ => sampled_event!("token-refused", "refused a token", cause, client = %client),
    }
}

pub(crate) fn signing_out(sid: Sid, sub: &str, client: Client) {
    event!("sign-out", "signing out", sub, sid = %sid, client = %client);
}

pub(crate) fn signing_out_everywhere(sub: &str, client: Client) {
    event!("sign-out-everywhere", "signing out everywhere", sub, client = %client);
}

/// A session that came with a request was ended because a fresh one begins.
pub(crate) fn session_replaced(purpose: Purpose, sid: Sid, sub: &str) {
    event!("revocation", "ended a session", kind = "session", cause = purpose.name(), sub, sid = %sid);
}

/// Copy detection ended a session. The client is the one whose token did not fit: the owner or the thief.
pub(crate) fn session_copied(sid: Sid, sub: &str, client: Client) {
    event!("session-copied", "ended a session whose cookie is used in two places", sub, sid = %sid, client = %client);
}

/// The store told of a refusal that this process did not make: of the command line, or of another server.
pub(crate) fn revoked_elsewhere(entry: &Entry) {
    match entry {
        Entry::Session { sid, .. } => {
            event!("revocation", "a session was ended", kind = "session", cause = "store", sid = %sid);
        }
        Entry::Subject { sub, below, .. } => {
            let sub: &str = sub;
            event!(
                "revocation",
                "all sessions of an account were ended",
                kind = "account",
                cause = "store",
                sub,
                below
            );
        }
        Entry::Key { kid } => {
            event!("revocation", "every session of a key was ended", kind = "key", cause = "store", kid = %kid);
        }
    }
}

/// The store's own generation was raised.
pub(crate) fn everyone_revoked(below: u64) {
    event!("revocation", "every session was ended", kind = "everyone", cause = "store", below);
}

/// The user of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    pub(crate) uid: u32,
    /// The user who became this one with sudo(8). Whoever runs the command can set it.
    pub(crate) sudo_uid: Option<u32>,
}

/// The object of a command's change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed<'c> {
    /// The login name is that of an account, and not one that was only typed.
    Account {
        login: &'c str,
        sub: &'c str,
    },
    /// Names or the address of an account. `old_login` is its login name before, if it has another one now.
    Profile {
        login: &'c str,
        old_login: Option<&'c str>,
        sub: &'c str,
    },
    /// Number of accounts, and the address of their store.
    Accounts {
        store: &'c str,
        count: usize,
    },
    Session(Sid),
    Key(Kid),
    /// Everything in the store of this address, which has no password.
    Store(&'c str),
}

/// A command changed an account, sessions, a key or the store.
pub(crate) fn changed_by_command(change: &'static str, changed: Changed<'_>, Operator { uid, sudo_uid }: Operator) {
    let (mut login, mut old_login, mut sub, mut sid, mut kid) = (None, None, None, None, None);
    let (mut store, mut accounts) = (None, None);
    match changed {
        Changed::Account { login: name, sub: id } => (login, sub) = (Some(name), Some(id)),
        Changed::Profile { login: name, old_login: old, sub: id } => {
            (login, old_login, sub) = (Some(name), old, Some(id))
        }
        Changed::Accounts { store: address, count } => (store, accounts) = (Some(address), Some(count)),
        Changed::Session(id) => sid = Some(display(id)),
        Changed::Key(id) => kid = Some(display(id)),
        Changed::Store(address) => store = Some(address),
    }
    event!(
        "command",
        "a command changed something",
        change,
        login,
        old_login,
        sub,
        sid,
        kid,
        store,
        accounts,
        uid,
        sudo_uid
    );
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    Published,
    /// It seals from now on.
    Activated,
    Revoked,
    Removed,
}

pub(crate) fn key_changed(change: KeyChange, kid: Kid) {
    match change {
        KeyChange::Published => event!("key-published", "there is a new key", kid = %kid),
        KeyChange::Activated => event!("key-activated", "another key seals", kid = %kid),
        KeyChange::Revoked => event!("key-revoked", "a key was revoked, and all its sessions with it", kid = %kid),
        KeyChange::Removed => event!("key-removed", "a key is gone", kid = %kid),
    }
}
