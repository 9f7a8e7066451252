//! Settings of an application. They are checked, and then open a [`Jar`] with its background tasks.
//!
//! Called by the application. The tasks follow the revocation log and the key directory, or delete expired entries in memory.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::jar::{Inner, Jar, Shared};
use super::navigation::SignInPage;
use super::revocations::Revocations;
use crate::clock::{Now, StepGuard};
use crate::keyring::{Dates, Key, KeyRing, RingError};
use crate::revocation::{Freshness, RevocationList, WhenStale};
use crate::secret::Secret;
use crate::session::copy_detection::DEFAULT_MEMORY_BYTES;
use crate::session::lifetime::Lifetime;
use crate::session::{Lifetimes, Sessions};
#[cfg(feature = "store")]
use crate::sync::key_directory::KeyDirectory;
use crate::web::changes::Changes;
use crate::web::cookie::{AppName, Cookies};
use crate::web::hosts::{Domain, Hosts};
use crate::web::sites::{BadSite, Sites};

/// Maximum number of cookies with the name of the session cookie that are verified in a request. A limit is needed, because this
/// library does not know the maximum size of a request head in the application.
const MAX_CANDIDATES: usize = 200;
/// Time between two deletions of expired entries, if there is no store.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// Settings of an application's sessions. The defaults are secure.
#[derive(Debug, Clone)]
pub struct Settings {
    name: String,
    origins: Vec<String>,
    cookie_domain: Option<String>,
    plain_http: bool,
    lifetimes: Lifetimes,
    detects_copies: bool,
    sign_in_at: Option<String>,
}

/// Error for a [`Jar`] that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings contradict each other, or are not secure.
    #[error("{0}")]
    Setting(String),
    /// The key ring cannot be read. `sealjar keys init --keys DIRECTORY` creates one.
    #[error(transparent)]
    Keys(#[from] RingError),
    /// The store cannot be opened or read.
    #[cfg(feature = "store")]
    #[error("cannot use the store of logouts: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Settings {
    /// Returns the default settings of the application `name`, such as `shop`. Browsers reach it under these origins, such as
    /// `https://app.example.com`. Requests for any other host are refused (421). Without TLS only loopback hosts are allowed.
    ///
    /// The name is 1 to 32 lower-case letters, digits or underscores, and is part of the cookie's name. All nodes of the
    /// application must have the same name, and other applications must have other names: a session of one name is never accepted
    /// under another name. After a change of the name, all users must log in again.
    pub fn new<S: Into<String>>(name: impl Into<String>, origins: impl IntoIterator<Item = S>) -> Self {
        Self {
            name: name.into(),
            origins: origins.into_iter().map(Into::into).collect(),
            cookie_domain: None,
            plain_http: false,
            lifetimes: Lifetimes::default(),
            detects_copies: true,
            sign_in_at: None,
        }
    }

    /// Sets the timeouts of sessions. By default, ordinary sessions have an idle timeout of 30 minutes and an absolute timeout of
    /// 12 hours. Remembered sessions have 14 days and 90 days. No session lives longer than the `max_lifetime_secs` of the active
    /// key.
    #[must_use]
    pub fn lifetimes(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    /// Sets whether a session ends if its cookie is used in two places: `true` by default. A copied cookie is noticed if its
    /// holder and the owner both keep using it on one node. Sessions whose idle time is less than 18 minutes are not checked.
    ///
    /// Set it to `false` in these cases, because requests of one browser can seem to come from two holders:
    ///
    /// - Clients share one cookie on purpose, such as the workers of a test.
    /// - Responses to GET take more than two minutes, such as those to long polls.
    /// - Responses that replace data ([`Jar::replace_data`]) overlap all the time, such as those to two polls that are repeated
    ///   immediately. In simulations, this ended a session within hours, and with two long polls within half an hour.
    #[must_use]
    pub fn copy_detection(self, detects_copies: bool) -> Self {
        Self { detects_copies, ..self }
    }

    /// Sets the path of the sign-in page, such as `/sign-in`. A browser that opens another page without a live session is
    /// redirected there (303), with the path of the page in `rd`. [`return_path`](super::return_path) reads it after the login.
    /// Programs still get 401, and so does a request for the sign-in page itself. Without this setting, browsers get 401, too.
    ///
    /// The page must not require a session: use a handler without [`Session`](super::Session), not below
    /// [`signed_in`](super::signed_in).
    #[must_use]
    pub fn sign_in_at(self, path: impl Into<String>) -> Self {
        Self { sign_in_at: Some(path.into()), ..self }
    }

    /// Uses one session for all hosts of this domain, such as `example.com`, instead of one session per host. Browsers send the
    /// cookie to every host below the domain, and any of these hosts can set a cookie with this name.
    #[must_use]
    pub fn cookie_domain(self, domain: impl Into<String>) -> Self {
        Self { cookie_domain: Some(domain.into()), ..self }
    }

    /// Sets cookies without `Secure`, for clients that drop `Secure` cookies over plain HTTP. For development only: all origins
    /// must be loopback addresses, because anyone who can read the traffic can copy the session cookie.
    #[must_use]
    pub fn plain_http(self) -> Self {
        Self { plain_http: true, ..self }
    }

    /// Opens a [`Jar`] with the key ring in the directory `keys` and the store of logouts at the URL `store`.
    ///
    /// `sealjar keys init` creates the key ring. `sealjar keys rotate` can change it while the application runs. The store is
    /// `sqlite://PATH` (created if it does not exist), or `postgres://USER@HOST/DATABASE` for several nodes.
    ///
    /// All nodes of the application share the keys and the store. No other application and no Sealjar server may use them: an
    /// application with the same keys could create sessions, and a server counts generations in another way. A store that has
    /// accounts is refused.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[cfg(feature = "store")]
    pub async fn open(self, keys: impl AsRef<std::path::Path>, store: &str) -> Result<Jar, OpenError> {
        use crate::store::{Limits, Store, StoreError, StoreUrl};
        use crate::sync::committer::Committer;
        use crate::sync::follower::Follower;
        use crate::sync::lag::Lag;

        const MAX_STALENESS: Duration = Duration::from_secs(10);
        const LIMITS: Limits = Limits {
            connections: 10,
            statement_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(4),
        };
        let store_error = |error: StoreError| OpenError::Store(Box::new(error));
        let ParsedSettings { hosts, cookies, sign_in_page } = self.parse()?;
        let directory = keys.as_ref().to_owned();
        let ring = KeyRing::load(&directory)?;
        let url = StoreUrl::parse(store)
            .map_err(|reason| OpenError::Setting(format!("invalid address of the store: {reason}")))?;
        let (store, _) = Store::open_or_create(&url, LIMITS).await.map_err(store_error)?;
        if store.has_accounts().await.map_err(store_error)? {
            store.close().await;
            return Err(OpenError::Setting(
                "the store contains the accounts of a Sealjar server, which counts generations in another way: use a separate store \
                 for the application"
                    .to_owned(),
            ));
        }
        let freshness = Freshness { max_staleness: MAX_STALENESS, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        let lag = Arc::new(Lag::default());
        let follower = Follower::load(store.clone(), list.clone(), lag, self.lifetimes).await.map_err(store_error)?;
        let (committer, committing) = Committer::start(list.clone(), store.clone());
        let sessions =
            Sessions::new(ring, list, cookies.session().clone(), self.lifetimes).with_max_candidates(MAX_CANDIDATES);
        sessions.detect_copies(self.detects_copies.then_some(DEFAULT_MEMORY_BYTES));
        let shared = Arc::new(Shared { sessions, key_directory: Some(KeyDirectory::new(Now::read())) });
        let mut tasks = JoinSet::new();
        // A revoked key needs no further action here: its entry in the list takes effect immediately.
        tasks.spawn(follower.run(|| ()));
        let task_state = shared.clone();
        tasks.spawn(async move {
            if let Some(key_directory) = &task_state.key_directory {
                key_directory.follow(&task_state.sessions, &directory, |_| ()).await;
            }
        });
        Ok(Jar(Arc::new(Inner {
            shared,
            hosts,
            cookies,
            sign_in_page,
            revocations: Revocations::Store { store, committer, committing: tokio::sync::Mutex::new(Some(committing)) },
            changes: Changes::new(),
            tasks: Mutex::new(tasks),
        })))
    }

    /// Opens a [`Jar`] whose key and revocation list are only in memory. When the process exits, the key is lost and every
    /// session ends. So no revoked session can become valid again. Use this for tests, for development, and for tools with one
    /// process.
    ///
    /// # Errors
    /// [`OpenError::Setting`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn in_memory(self) -> Result<Jar, OpenError> {
        let ParsedSettings { hosts, cookies, sign_in_page } = self.parse()?;
        let now = Now::read();
        let dates = Dates {
            created_at: now.wall,
            // Active at any time, so that the key stays active if the clock is set back.
            activates_at: Some(crate::clock::UnixTime(0)),
            revoked_at: None,
            max_lifetime: self.lifetimes.longest(),
        };
        let ring = KeyRing::new(vec![Key::new(Secret::random(), dates)]);
        // No other process revokes sessions, so the list is never stale.
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        list.mark_synced(now);
        let sessions = Sessions::new(ring, list.clone(), cookies.session().clone(), self.lifetimes)
            .with_max_candidates(MAX_CANDIDATES);
        sessions.detect_copies(self.detects_copies.then_some(DEFAULT_MEMORY_BYTES));
        let longest = self.lifetimes.longest();
        let revocations = Revocations::Memory { list: list.clone(), generation: AtomicU64::new(0), longest };
        let mut tasks = JoinSet::new();
        tasks.spawn(prune(list, now));
        let shared = Arc::new(Shared { sessions, key_directory: None });
        let changes = Changes::new();
        Ok(Jar(Arc::new(Inner {
            shared,
            hosts,
            cookies,
            sign_in_page,
            revocations,
            changes,
            tasks: Mutex::new(tasks),
        })))
    }

    /// Checks the settings.
    fn parse(&self) -> Result<ParsedSettings, OpenError> {
        let invalid = |message: &str| OpenError::Setting(message.to_owned());
        let name = AppName::parse(&self.name).ok_or_else(|| {
            invalid("the application's name must have 1 to 32 lower-case letters, digits or underscores")
        })?;
        for Lifetime { idle, absolute } in [self.lifetimes.ordinary, self.lifetimes.remembered] {
            Lifetime::new(idle, absolute).map_err(|_| {
                invalid("an idle lifetime must be at least 10 s and at most the absolute lifetime, which must be at most ten years")
            })?;
        }
        let domain = |text| {
            let message = || invalid(&format!("the cookie's domain {text:?} must be a name such as example.com"));
            Domain::parse(text).ok_or_else(message)
        };
        let domain = self.cookie_domain.as_deref().map(domain).transpose()?;
        let sites = Sites::new(&self.origins, domain, self.plain_http, false).map_err(|bad_site| {
            OpenError::Setting(match bad_site {
                BadSite::PlainHttpWithDomain => "cookies over plain HTTP cannot have a domain".to_owned(),
                BadSite::NotAnOrigin(text) => format!("{text:?} is not an origin such as https://app.example.com"),
                BadSite::NotSecure(origin) | BadSite::NotTls(origin) => {
                    format!("{origin}: browsers drop Secure cookies over plain http; use https, or a loopback host")
                }
                BadSite::NotLoopback(origin) => format!("{origin}: plain HTTP is for development on this machine"),
                BadSite::NotInDomain(origin) => format!("{origin} is not below the cookie's domain"),
            })
        })?;
        if sites.origins().is_empty() {
            return Err(invalid("name at least one origin under which browsers reach the application"));
        }
        let hosts = Hosts::new(sites.origins().to_vec(), sites.domain().cloned(), Vec::new());
        let parse_page = |path: &String| {
            SignInPage::parse(path)
                .ok_or_else(|| invalid("the sign-in page must be a path such as /sign-in, without a query"))
        };
        let sign_in_page = self.sign_in_at.as_ref().map(parse_page).transpose()?;
        Ok(ParsedSettings { hosts, cookies: sites.cookies_for_app(&name), sign_in_page })
    }
}

/// Settings after the checks.
struct ParsedSettings {
    hosts: Hosts,
    cookies: Cookies,
    sign_in_page: Option<SignInPage>,
}

/// Deletes expired entries every minute. After a clock step it pauses for a day: with a wrong time, it would delete entries
/// that are still needed when the time is correct again.
async fn prune(list: Arc<RevocationList>, started: Now) {
    let mut steps = StepGuard::new(started);
    loop {
        tokio::time::sleep(PRUNE_INTERVAL).await;
        let now = Now::read();
        if let Some(before) = steps.observe(now) {
            tracing::warn!(%before, now = %now.wall, "the clock was set: nothing is pruned until it has been steady for a day");
        }
        if steps.may_prune(now) {
            list.prune(list.time(now));
        }
    }
}
