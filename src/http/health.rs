//! `/healthz` and `/readyz`, on the admin listener.

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

/// Alive: the process answers. It depends on nothing.
#[handler]
pub(crate) async fn healthz(response: &mut Response) {
    answer(response, StatusCode::OK, r#"{"status":"alive"}"#.to_owned());
}

/// `GET /readyz`.
pub(crate) struct Ready(pub(crate) AppHandle);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let readiness = Readiness::of(&self.0.load(), Now::read());
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(response, status, serde_json::to_string(&readiness).expect("texts and numbers can be written"));
    }
}

/// Whether this server can verify sessions, which other work fails, and how it follows the other nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Problems that do not prevent verification, as sentences. The server stays ready.
    degraded: Vec<String>,
    /// Whether core dumps and debuggers of the same user can read this server's memory (`process.dumpable`).
    dumpable: bool,
    /// Delay of the last revocation from another node, measured with PostgreSQL; `null` before the first.
    lag_ms: Option<u64>,
    /// How far Landlock limits where this server writes (`process.landlock`): `full`, `partial`, `unsupported`, `failed` or `off`.
    landlock: &'static str,
    /// Number of ignored rules in the queries of verification requests, by the rule that was probably meant. They are misspelled, or
    /// the path has rules already.
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
    /// Ready: the list is loaded and fresh, there is a key that opens tokens, and nobody asked to stop.
    pub(super) fn of(app: &App, now: Now) -> Self {
        let list = app.sessions.revocations();
        let checks = [
            (app.stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_be_trusted(now), "the revocation list is stale"),
            (!opens_tokens(&app.sessions.ring(), list.time(now)), "no key opens tokens"),
        ];
        let reasons: Vec<_> = checks.into_iter().filter_map(|(bad, reason)| bad.then_some(reason)).collect();
        Self {
            degraded: Degradation::ALL.into_iter().filter_map(|degradation| degradation.found(app, now)).collect(),
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
    let counts = RuleName::VARIANTS.iter().enumerate().map(|(place, name)| (*name, MISSPELT_RULES.total(place)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn opens_tokens(ring: &KeyRing, time: UnixTime) -> bool {
    ring.keys().iter().any(|key| ring.state(key, time) != KeyState::Revoked)
}

/// Work that can fail while sessions are verified. Each is a text in `/readyz`, a value of the metric `sealjar_degraded`, and has
/// an alert.
#[derive(Debug, Clone, Copy)]
pub(super) enum Degradation {
    SignOutsNotStored,
    DatabaseReplaced,
    StoreRolledBack,
    NoActiveKey,
    KeyRingUnreadable,
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
    /// Commits that take longer are reported. Each request waits for as long.
    const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
    /// A key ring that was not read for longer is reported. It is read about twice a second.
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

    /// Returns the text for `/readyz`, or `None` if all is well.
    pub(super) fn found(self, app: &App, now: Now) -> Option<String> {
        let list = app.sessions.revocations();
        match self {
            Self::SignOutsNotStored => {
                let unstored = app.committer.unstored_for(now).filter(|time| *time >= Self::COMMIT_TIMEOUT)?;
                let since = UnixTime(now.wall.0.saturating_sub(unstored.as_secs()));
                Some(format!("sign-outs are not stored since {since}: a restart could bring these sessions back"))
            }
            Self::DatabaseReplaced => app.store.is_replaced().then(|| {
                "the database file was replaced or removed: nothing is stored; put the same file back; restart the server only if the one that is there now is meant, because what was not stored is lost then".to_owned()
            }),
            Self::StoreRolledBack => list.rollback().is_found().then(|| {
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
                    "the key ring is unreadable since {since}: changes of keys are not seen here; mend what the log names, or find \
                     it as the server's user with: sealjar doctor"
                ))
            }
            // Where it is refused, this is a reason for not being ready.
            Self::ListStale => (!list.is_current(now) && list.may_be_trusted(now))
                .then(|| "the revocation list is stale: sign-outs on other nodes are not known here".to_owned()),
        }
    }
}

fn answer(response: &mut Response, status: StatusCode, body: String) {
    response.status_code(status);
    write(response, "application/json", body + "\n");
}

pub(super) fn write(response: &mut Response, media_type: &'static str, body: String) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.body(body);
}
