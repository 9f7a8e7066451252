//! Declares every metric of `/metrics`: its name, type, labels and meaning. The `# HELP` lines and `docs/reference/metrics.md`
//! (by `make reference`) are generated from these texts.
//!
//! A label can only have the values in its declaration, so a client cannot add label values.

use strum::VariantNames;

use crate::audit::Purpose;
use crate::http::exposition::{Family, Label};
use crate::http::health::Degradation;
use crate::keyring::KeyState;
use crate::metrics::{DroppedLine, Password, RuleName, SignOut, StoreCall, Verification};

const PURPOSES: [&str; 3] = [Purpose::SignIn.name(), Purpose::StepUp.name(), Purpose::PasswordChange.name()];
const KEY_STATES: [&str; 4] =
    [KeyState::Published.name(), KeyState::Active.name(), KeyState::Retired.name(), KeyState::Revoked.name()];
const DEGRADATIONS: [&str; Degradation::ALL.len()] = {
    let mut names = [""; Degradation::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Degradation::ALL[index].name();
        index += 1;
    }
    names
};

/// Declares a constant for each family, and the list `ALL`.
macro_rules! families {
    ($($name:ident = $family:expr;)*) => {
        $(pub(super) const $name: Family = $family;)*

        /// All families in the order of `/metrics`.
        #[cfg(test)]
        pub(crate) const ALL: &[Family] = &[$($name),*];
    };
}

families! {
    BUILD_INFO = Family::gauge("build_info", "Always 1. The label is the version of the server.")
        .labels(&[Label { name: "version", values: &[] }]);
    READY = Family::gauge("ready", "1 if `/readyz` answers that the server is ready, else 0.");
    DEGRADED = Family::gauge(
        "degraded",
        "1 if the server has this problem but still verifies sessions, else 0. `/readyz` shows the problem too, and \
         docs/troubleshooting.md explains each value.",
    )
    .labels(&[Label { name: "what", values: &DEGRADATIONS }]);
    START_TIMESTAMP = Family::gauge("start_timestamp_seconds", "Time at which the server started, in Unix seconds.");
    CONFIG_RELOAD_SUCCESSFUL = Family::gauge(
        "config_last_reload_successful",
        "1 if the server could use the configuration when it last read it, else 0. While it is 0, the older \
         configuration stays in force.",
    );
    CONFIG_RELOAD_TIMESTAMP = Family::gauge(
        "config_last_reload_success_timestamp_seconds",
        "Time at which the server last applied a usable configuration: at the start, after a change, or on \
         SIGHUP. In Unix seconds.",
    );
    TLS_EXPIRY = Family::gauge(
        "tls_certificate_expiry_timestamp_seconds",
        "Time at which the TLS certificate expires, in Unix seconds. Absent if the server does not use TLS.",
    );
    CONNECTIONS = Family::gauge("connections", "Number of open connections of the public listener.");
    CONNECTIONS_LIMIT = Family::gauge(
        "connections_limit",
        "Maximum number of open connections of the public listener: `http.max_connections`, or less if the limit of open \
         files is too low.",
    );
    CONNECTIONS_DISPLACED = Family::counter(
        "connections_displaced_total",
        "Connections that the server evicted: at the limit, to accept new connections, or because HTTP/2 requests and \
         responses used too much memory.",
    );
    HTTP2_REFUSED = Family::counter(
        "http2_requests_refused_total",
        "HTTP/2 requests answered with 503 because HTTP/2 requests and responses use too much memory.",
    );
    KEY_WAITS_REFUSED = Family::counter(
        "key_waits_refused_total",
        "Requests that did not wait because too many requests were waiting, of one client network or in total. They are \
         answered with 503, except the login page. A request waits if this server does not have the key of its session \
         cookie: the server then reads the key directory again.",
    );
    BODY_WAITS_DISPLACED = Family::counter(
        "body_waits_displaced_total",
        "HTTP/2 requests of trusted proxies answered with 408 before `http.body_timeout` because too many requests were \
         waiting for their bodies.",
    );
    LOG_LINES_DROPPED = Family::counter(
        "log_lines_dropped_total",
        "Log lines that were dropped because standard error was not read in time: audit events (`audit`) and all other \
         lines (`other`).",
    )
    .labels(&[Label { name: "kind", values: DroppedLine::VARIANTS }]);
    VERIFICATIONS = Family::counter(
        "verifications_total",
        "Requests for `/auth/verify`, `/auth/status` and `/protected`, by the outcome of the session check. `forbidden`: \
         the session does not have the role. `step-up`: `max_age` requires the password again. `stale`: the revocation \
         list is too old. `bad-request`: the host, a rule, a forwarded field or the origin is not accepted. `error`: the \
         answer was 5xx for another reason. `preflight`: a CORS preflight passed without a session by the rule \
         `preflight`.",
    )
    .labels(&[Label { name: "outcome", values: Verification::VARIANTS }]);
    MISSPELT_RULES = Family::counter(
        "misspelt_rules_total",
        "Query parameters of verification requests that were ignored although they look like this rule: they are \
         misspelt, or the path has rules too.",
    )
    .labels(&[Label { name: "rule", values: RuleName::VARIANTS }]);
    UNREADABLE_RULES = Family::counter(
        "unreadable_rules_total",
        "Verification requests answered with 403 `rule` because a rule is unknown or has an invalid value.",
    );
    RENEWALS = Family::counter("renewals_total", "Sessions that were renewed: they got a new token with a later idle deadline.");
    COPIED_SESSIONS = Family::counter(
        "copied_sessions_total",
        "Sessions that this server ended because their cookie was used in two places (copy detection). The audit event \
         `session-copied` has each of them.",
    );
    COPY_DETECTION_CHAINS = Family::gauge(
        "copy_detection_chains",
        "Number of sessions that copy detection remembers, also after they ended. Absent if copy detection is off.",
    );
    COPY_DETECTION_CHAINS_LIMIT = Family::gauge(
        "copy_detection_chains_limit",
        "Maximum of `sealjar_copy_detection_chains`, which follows from `session.copy_detection_memory`. It is enough for \
         half this number of sessions that are in use at the same time. Absent if copy detection is off.",
    );
    COPY_DETECTION_DROPPED = Family::counter(
        "copy_detection_dropped_total",
        "Sessions that copy detection removed from its memory because the memory was full. Some of them had ended \
         already. Absent if copy detection is off.",
    );
    SIGN_OUTS = Family::counter(
        "sign_outs_total",
        "Logout requests by outcome. `durable`: the store has it. `not-durable`: the session is ended on this \
         server, but the store did not confirm it in time. `key-elsewhere`: nothing was ended, because \
         another server can decrypt the session and this one cannot.",
    )
    .labels(&[Label { name: "outcome", values: SignOut::VARIANTS }]);
    PASSWORDS = Family::counter(
        "passwords_total",
        "Passwords that clients sent, by purpose and outcome. `refused`: unknown account, wrong password or disabled \
         account. `must-change`: the password is right, but the user must change it first. `changed-meanwhile`: the \
         account changed during the check. `throttled`: a rate limit refused the attempt. `overloaded`: the queue was full. \
         `error`: the store failed, the list was stale, no key was active, a stored hash cannot be checked, or a thread panicked.",
    )
    .labels(&[Label { name: "for", values: &PURPOSES }, Label { name: "outcome", values: Password::VARIANTS }]);
    PASSWORD_THREADS = Family::gauge("password_threads", "Number of threads that check passwords.");
    PASSWORD_THREADS_BUSY = Family::gauge("password_threads_busy", "Number of these threads that are checking a password.");
    PASSWORD_QUEUE = Family::gauge(
        "password_queue",
        "Passwords that wait for a thread. `known`: the client is known to the account (docs/passwords.md), and is \
         served first. `strange`: all other clients.",
    )
    .labels(&[Label { name: "lane", values: &["known", "strange"] }]);
    PASSWORD_QUEUE_LIMIT =
        Family::gauge("password_queue_limit", "Maximum number of passwords in each of the two queues: `password.queue`.");
    PASSWORD_HASHING = Family::histogram("password_hashing_seconds", "Time that a thread needed for one password.");
    KEYS = Family::gauge("keys", "Number of keys in the key directory, by state. A key that the store revokes counts as `revoked`.")
        .labels(&[Label { name: "state", values: &KEY_STATES }]);
    KEY_RING_AGE = Family::gauge(
        "key_ring_age_seconds",
        "Time since the start of the last successful read of the key directory. It is below 1 in normal operation.",
    );
    KEY_ACTIVATED = Family::gauge(
        "key_activated_timestamp_seconds",
        "Time at which the active key became active, in Unix seconds. Absent if no key is active.",
    );
    KEY_AGE = Family::gauge(
        "key_age_seconds",
        "Time since the active key became active. Absent if no key is active.",
    );
    KEY_NEXT_ACTIVATION = Family::gauge(
        "key_next_activation_timestamp_seconds",
        "Time at which the next key becomes active, in Unix seconds. Absent if no key has such a time.",
    );
    REVOCATIONS = Family::gauge("revocations", "Number of single sessions on the revocation list, pending ones included.");
    REVOCATIONS_PENDING =
        Family::gauge("revocations_pending", "Number of single sessions on the revocation list that are not in the store yet.");
    STALENESS = Family::gauge(
        "revocation_staleness_seconds",
        "Time since the start of the last successful read of the revocation log in the store.",
    );
    MAX_STALENESS = Family::gauge(
        "revocation_max_staleness_seconds",
        "Staleness above which the server accepts no session, unless `revocation.when_stale` is `allow`: \
         `revocation.max_staleness`.",
    );
    LAG = Family::histogram(
        "revocation_lag_seconds",
        "Time from the write of a revocation by another process until this server read it. Measured with \
         PostgreSQL only.",
    );
    STORE = Family::histogram(
        "store_seconds",
        "Time that the store needed, by operation. `commit`: write revocations. `poll`: read the revocation log. \
         `account`: read an account. `state`: read the global session generation.",
    )
    .labels(&[Label { name: "call", values: StoreCall::VARIANTS }]);
    STORE_FAILURES = Family::counter("store_failures_total", "Operations of the store that failed, by operation.")
        .labels(&[Label { name: "call", values: StoreCall::VARIANTS }]);
}
