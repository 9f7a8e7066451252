//! Audit events: the log lines about sessions, accounts and keys. All have the same log target, so that a filter can
//! select them.
//!
//! Every line has the field `event`. `docs/reference/events.md` lists the events, their fields and all values. A client
//! has the form that `log.client` selects. Sessions are identified by `sid`, keys by `kid`, accounts by `sub`.
//!
//! Invariant: the login name from a request is never logged, because some users type their password into that field.
//!
//! An event that any client can cause without effort is logged at most ten times per second. The field `left_out` of the next
//! event has the number of events that were not logged ([`crate::log_sampler`]).

use tracing::field::display;

use crate::id::{Kid, Sid};
use crate::log_sampler::sampled;
use crate::metrics::{PASSWORDS, Password};
use crate::network::Client;
use crate::revocation::Entry;

/// Log target of all audit events.
pub(crate) const TARGET: &str = "sealjar::audit";

/// Logs an audit event.
macro_rules! event {
    ($name:literal, $message:literal, $($fields:tt)+) => {
        tracing::info!(target: TARGET, event = $name, $($fields)+, $message)
    };
}

/// Logs an event that any client can cause without effort, at most ten times per second.
macro_rules! sampled_event {
    ($name:literal, $message:literal, $($fields:tt)+) => {
        sampled!(target: TARGET, INFO, event = $name, $($fields)+, $message)
    };
}

/// Purpose for which a user entered a password.
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

/// Reason why a password did not start a session. The response to the client has less detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    UnknownAccount,
    WrongPassword,
    /// The stored password hash cannot be checked, so no password is accepted.
    HashUnusable,
    Disabled,
    /// The account changed while the password was checked.
    ChangedMeanwhile,
    /// The password is correct, but must be changed first.
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

/// Counts a password that was not checked, or that was correct but did not start a session, because the store, the
/// revocation list or the keys failed. Logs nothing.
pub(crate) fn password_failed(purpose: Purpose) {
    count(purpose, Password::Error);
}

/// Adds one to the metric of passwords with this purpose and outcome.
fn count(purpose: Purpose, outcome: Password) {
    PASSWORDS[purpose as usize].add(outcome as usize);
}

/// Records that a session began after a correct password. The name of the event depends on the purpose.
pub(crate) fn session_begun(purpose: Purpose, sub: &str, sid: Sid, remembered: bool, client: Client) {
    count(purpose, Password::Accepted);
    match purpose {
        Purpose::SignIn => event!("sign-in", "signed in", sub, sid = %sid, remembered, client = %client),
        Purpose::StepUp => {
            event!("step-up", "entered the password again", sub, sid = %sid, remembered, client = %client)
        }
        Purpose::PasswordChange => {
            event!("password-change", "changed the password", sub, sid = %sid, remembered, client = %client);
        }
    }
}

/// Records that a password was changed, but that the new session could not begin.
pub(crate) fn password_changed_without_session(sub: &str, client: Client) {
    event!("password-change", "changed the password, but no session began", sub, client = %client);
}

/// Records a password that did not start a session.
pub(crate) fn password_refused(purpose: Purpose, failure: Failure, sub: Option<&str>, client: Client) {
    let outcome = match failure {
        Failure::UnknownAccount | Failure::WrongPassword | Failure::Disabled => Password::Refused,
        Failure::HashUnusable => Password::Error,
        Failure::ChangedMeanwhile => Password::ChangedMeanwhile,
        Failure::MustChange => Password::MustChange,
    };
    count(purpose, outcome);
    // Not sampled: each event requires the hashing of a password, which takes time, and wrong passwords are rate-limited.
    let during = purpose.name();
    let reason = failure.name();
    event!("sign-in-failed", "a password did not start a session", during, reason, sub, client = %client);
}

/// Records a password that was refused because of a rate limit. `limit` is the name of that limit.
pub(crate) fn throttled(purpose: Purpose, limit: &'static str, client: Client) {
    count(purpose, Password::Throttled);
    let during = purpose.name();
    match limit {
        // Each call site has its own sampler, so that many events of the network limit do not suppress events of other
        // limits.
        "network" => sampled_event!("throttled", "too many attempts", during, limit, client = %client),
        _ => sampled_event!("throttled", "too many attempts", during, limit, client = %client),
    }
}

/// Records a password that was not checked, because all hashing threads were busy and the queue was full.
pub(crate) fn overloaded(purpose: Purpose, client: Client) {
    count(purpose, Password::Overloaded);
    sampled_event!("overloaded", "too many passwords wait to be checked", during = purpose.name(), client = %client);
}

/// Records that a token was refused.
pub(crate) fn token_refused(cause: &'static str, client: Client) {
    match cause {
        // Any client can send such tokens. These events have a separate sampler, so that they do not suppress events
        // with other causes.
        "malformed" | "unknown-key" | "not-authentic" => {
            sampled_event!("token-refused", "refused a token", cause, client = %client);
        }
        _ => sampled_event!("token-refused", "refused a token", cause, client = %client),
    }
}

/// Records the logout of one session, before it is durable.
pub(crate) fn signing_out(sid: Sid, sub: &str, client: Client) {
    event!("sign-out", "signing out", sub, sid = %sid, client = %client);
}

/// Records the logout of all sessions of an account, before it is durable.
pub(crate) fn signing_out_everywhere(sub: &str, client: Client) {
    event!("sign-out-everywhere", "signing out everywhere", sub, client = %client);
}

/// Records that the session of a request was ended because a new session replaces it.
pub(crate) fn session_replaced(purpose: Purpose, sid: Sid, sub: &str) {
    event!("revocation", "ended a session", kind = "session", cause = purpose.name(), sub, sid = %sid);
}

/// Records that copy detection ended a session. `client` presented the token that proved the copy. This client can be
/// the user or the attacker.
pub(crate) fn session_copied(sid: Sid, sub: &str, client: Client) {
    event!("session-copied", "ended a session whose cookie is used in two places", sub, sid = %sid, client = %client);
}

/// Records a revocation that a command or another server wrote to the store, and that this server has now read.
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

/// Records that the global generation was increased to `below`. Sessions of lower generations are refused.
pub(crate) fn everyone_revoked(below: u64) {
    event!("revocation", "every session was ended", kind = "everyone", cause = "store", below);
}

/// User who runs a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    pub(crate) uid: u32,
    /// User who called sudo(8), from an environment variable. The user who runs the command can set it to any value.
    pub(crate) sudo_uid: Option<u32>,
}

/// Object that a command changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed<'c> {
    /// An account. `login` was read from the store, so it is never a mistyped name.
    Account {
        login: &'c str,
        sub: &'c str,
    },
    /// The login name, the display name or the email address of an account. `old_login` is the previous login name, if that
    /// changed.
    Profile {
        login: &'c str,
        old_login: Option<&'c str>,
        sub: &'c str,
    },
    /// `count` accounts in the store with the URL `store`.
    Accounts {
        store: &'c str,
        count: usize,
    },
    Session(Sid),
    Key(Kid),
    /// The whole store with this URL, which contains no password.
    Store(&'c str),
}

/// Records that a command changed an account, sessions, a key or the store.
pub(crate) fn changed_by_command(change: &'static str, changed: Changed<'_>, Operator { uid, sudo_uid }: Operator) {
    // Each field of the event is logged only if it is `Some`.
    let mut login = None;
    let mut old_login = None;
    let mut sub = None;
    let mut sid = None;
    let mut kid = None;
    let mut store = None;
    let mut accounts = None;
    match changed {
        Changed::Account { login: name, sub: id } => {
            login = Some(name);
            sub = Some(id);
        }
        Changed::Profile { login: name, old_login: old_name, sub: id } => {
            login = Some(name);
            old_login = old_name;
            sub = Some(id);
        }
        Changed::Accounts { store: url, count } => {
            store = Some(url);
            accounts = Some(count);
        }
        Changed::Session(id) => sid = Some(display(id)),
        Changed::Key(id) => kid = Some(display(id)),
        Changed::Store(url) => store = Some(url),
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

/// Change of a key in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    Published,
    /// The key is now used to seal tokens.
    Activated,
    Revoked,
    Removed,
}

/// Records a change of the key ring.
pub(crate) fn key_changed(change: KeyChange, kid: Kid) {
    match change {
        KeyChange::Published => event!("key-published", "a key was published", kid = %kid),
        KeyChange::Activated => event!("key-activated", "a key was activated", kid = %kid),
        KeyChange::Revoked => event!("key-revoked", "a key was revoked, and all its sessions with it", kid = %kid),
        KeyChange::Removed => event!("key-removed", "a key was removed", kid = %kid),
    }
}
