//! `/healthz` and `/readyz` on the admin listener: whether the process runs, and whether it can verify sessions.
//!
//! A server that cannot verify sessions is not ready. If only other work fails, it stays ready and reports a [`Degradation`]. The
//! same list is in `/metrics` (`metrics.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use salvo::prelude::{Response, handler};
use serde::Serialize;
use strum::VariantNames;
use utoipa::ToSchema;

use crate::clock::{Now, UnixTime, milliseconds};
use crate::http::app::{App, AppHandle};
use crate::keyring::{KeyRing, KeyState};
use crate::metrics::{MISSPELT_RULES, RuleName, UNREADABLE_RULES};

/// Responds to `GET /healthz`. The response is always 200: it shows only that the process runs.
#[handler]
pub(crate) async fn healthz(response: &mut Response) {
    write_json(response, StatusCode::OK, r#"{"status":"alive"}"#.to_owned());
}

/// Responds to `GET /readyz`.
pub(crate) struct Ready(pub(crate) AppHandle);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let readiness = Readiness::of(&self.0.load(), Now::read());
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        write_json(response, status, serde_json::to_string(&readiness).expect("texts and numbers can be serialized"));
    }
}

/// State of this server: whether it can verify sessions, other problems, and the age of its revocation list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Problems that do not prevent verification, as sentences. The server stays ready.
    degraded: Vec<String>,
    /// Whether core dumps and debuggers of the same user can read this server's memory (`process.dumpable`).
    dumpable: bool,
    /// Delay of the last revocation from another node, measured with PostgreSQL; `null` before the first.
    lag_ms: Option<u64>,
    /// Extent to which Landlock limits the files that this server can write (`process.landlock`): `full`, `partial`,
    /// `unsupported`, `failed` or `off`.
    landlock: &'static str,
    /// Number of ignored rules in the queries of verification requests, by the rule that was probably meant. They are misspelled,
    /// or the path has rules already.
    misspelt_rules: BTreeMap<&'static str, u64>,
    /// Number of revoked sessions that the store has not confirmed.
    pending: usize,
    /// Reasons why this server cannot verify sessions.
    reasons: Vec<&'static str>,
    /// Number of revoked sessions in the revocation list, without revoked accounts and keys.
    revocations: usize,
    /// Time since the last successful read of the revocation list began.
    staleness_ms: u64,
    /// `ready` or `not ready`.
    status: &'static str,
    /// Number of verification requests that were refused because their rules are invalid.
    unreadable_rules: u64,
}

impl Readiness {
    /// Collects the state of the server. It is ready if the revocation list is loaded and fresh, at least one key opens tokens,
    /// and the process has received no signal to stop.
    pub(super) fn of(app: &App, now: Now) -> Self {
        let list = app.sessions.revocations();
        let checks = [
            (app.is_stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_accept_sessions(now), "the revocation list is stale"),
            (!opens_tokens(&app.sessions.ring(), list.time(now)), "no key opens tokens"),
        ];
        let reasons: Vec<_> = checks.into_iter().filter_map(|(applies, reason)| applies.then_some(reason)).collect();
        Self {
            degraded: Degradation::ALL.into_iter().filter_map(|degradation| degradation.message(app, now)).collect(),
            dumpable: app.hardening.dumpable,
            landlock: app.hardening.landlock.name(),
            lag_ms: app.lag.last_ms(),
            misspelt_rules: misspelt_rules(),
            pending: list.pending(),
            staleness_ms: milliseconds(list.staleness(now)),
            revocations: list.len(),
            status: if reasons.is_empty() { "ready" } else { "not ready" },
            unreadable_rules: UNREADABLE_RULES.total(0),
            reasons,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

fn misspelt_rules() -> BTreeMap<&'static str, u64> {
    let counts = RuleName::VARIANTS.iter().enumerate().map(|(index, name)| (*name, MISSPELT_RULES.total(index)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn opens_tokens(ring: &KeyRing, time: UnixTime) -> bool {
    ring.keys().iter().any(|key| ring.state(key, time) != KeyState::Revoked)
}

/// A problem that does not prevent the verification of sessions. Each one has a text in `/readyz`, a value of the metric
/// `sealjar_degraded`, and an alert.
#[derive(Debug, Clone, Copy)]
pub(super) enum Degradation {
    /// Commits of logouts to the store fail or take too long.
    SignOutsNotStored,
    /// The file of the SQLite database was replaced or removed.
    DatabaseReplaced,
    /// The store has lost entries of the revocation log.
    StoreRolledBack,
    /// No key is active, so no token can be sealed.
    NoActiveKey,
    /// The key directory could not be read for more than [`Self::MAX_RING_AGE`].
    KeyRingUnreadable,
    /// The revocation list is stale, but the settings allow the server to use it.
    ListStale,
}

impl Degradation {
    pub(super) const ALL: [Self; 6] = [
        Self::SignOutsNotStored,
        Self::DatabaseReplaced,
        Self::StoreRolledBack,
        Self::NoActiveKey,
        Self::KeyRingUnreadable,
        Self::ListStale,
    ];
    /// Maximum time of a commit. A longer one is reported. A logout request waits for the same time.
    const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Maximum time since the last read of the key ring. A longer time is reported. The ring is read about twice a second.
    const MAX_RING_AGE: Duration = Duration::from_secs(5);

    /// Returns the label of the metric.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SignOutsNotStored => "sign-outs-not-stored",
            Self::DatabaseReplaced => "database-replaced",
            Self::StoreRolledBack => "store-rolled-back",
            Self::NoActiveKey => "no-active-key",
            Self::KeyRingUnreadable => "key-ring-unreadable",
            Self::ListStale => "list-stale",
        }
    }

    /// Returns the text for `/readyz`, or `None` if the problem does not exist now.
    pub(super) fn message(self, app: &App, now: Now) -> Option<String> {
        let list = app.sessions.revocations();
        match self {
            Self::SignOutsNotStored => {
                let uncommitted = app.committer.uncommitted_duration(now).filter(|time| *time >= Self::COMMIT_TIMEOUT)?;
                let since = UnixTime(now.wall.0.saturating_sub(uncommitted.as_secs()));
                Some(format!("logouts have not been stored since {since}: after a restart, these sessions could be valid again"))
            }
            Self::DatabaseReplaced => app.store.is_replaced().then(|| {
                "the database file was replaced or removed, so nothing is stored: put the original file back; restart the server only if the present file is the intended one, because everything that was not stored is then lost".to_owned()
            }),
            Self::StoreRolledBack => list.rollback().is_rolled_back().then(|| {
                "the store was rolled back, so ended sessions may be valid again: run: sealjar store restored".to_owned()
            }),
            Self::NoActiveKey => {
                let problem = "no key is active: nobody can sign in, and no session is renewed";
                app.sessions.active_key(now).is_none().then(|| problem.to_owned())
            }
            Self::KeyRingUnreadable => {
                let age = Some(app.key_directory.age(now)).filter(|age| *age > Self::MAX_RING_AGE)?;
                let since = UnixTime(now.wall.0.saturating_sub(age.as_secs()));
                Some(format!(
                    "the key ring has been unreadable since {since}, so this server does not receive changes of keys: repair what \
                     the log names, or find the cause as the server's user with: sealjar doctor"
                ))
            }
            // If stale sessions are refused (`revocation.when_stale`), the server is not ready instead.
            Self::ListStale => (!list.is_current(now) && list.may_accept_sessions(now))
                .then(|| "the revocation list is stale: this server does not receive logouts of other nodes".to_owned()),
        }
    }
}

fn write_json(response: &mut Response, status: StatusCode, body: String) {
    response.status_code(status);
    write(response, "application/json", body + "\n");
}

pub(super) fn write(response: &mut Response, media_type: &'static str, body: String) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.body(body);
}
