//! From settings to a [`Jar`]: what it is told, what is refused, and the tasks that keep it current.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::jar::{Core, Inner, Jar};
use super::navigation::SignInPage;
use super::refusals::Refusals;
use crate::clock::{Now, StepGuard};
use crate::keyring::{Dates, Key, KeyRing, RingError};
use crate::revocation::{Freshness, RevocationList, WhenStale};
use crate::secret::Secret;
use crate::session::copy_detection::DEFAULT_MEMORY;
use crate::session::lifetime::Lifetime;
use crate::session::{Lifetimes, Sessions};
#[cfg(feature = "store")]
use crate::sync::key_directory::KeyDirectory;
use crate::web::changes::Changes;
use crate::web::cookie::{AppName, Cookies};
use crate::web::hosts::{Domain, Hosts};
use crate::web::sites::{BadSite, Sites};

/// Number of cookies of the session's name that are looked at in a request: the application's limit of a head is not known here.
const MAX_CANDIDATES: usize = 200;
/// How often what has expired is thrown away, if there is no store.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What an application decides about its sessions. The defaults are the safe ones.
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

/// Why there is no [`Jar`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings that contradict each other or a rule of safety.
    #[error("{0}")]
    Setting(String),
    /// The key ring cannot be read. `sealjar keys init --keys DIRECTORY` makes one.
    #[error(transparent)]
    Keys(#[from] RingError),
    /// The store cannot be opened or read.
    #[cfg(feature = "store")]
    #[error("the store of sign-outs: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Settings {
    /// For the application of this name, such as `shop`, that browsers reach under these origins, such as
    /// `https://app.example.com`. Requests for any other host are refused (421). Without TLS only loopback hosts are allowed.
    ///
    /// The name is 1 to 32 lower-case letters, digits or underscores, and is part of the cookie's name. All nodes of the
    /// application have the same name, and every other application has another one: sessions of one name are never accepted
    /// under another. Under a new name, all users must log in again.
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

    /// How long sessions live. By default half an hour unused and twelve hours in all; remembered ones 14 and 90 days. The
    /// `max_lifetime_secs` of the active key caps all of them.
    #[must_use]
    pub fn lifetimes(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    /// Whether a session ends whose cookie is used in two places: `true` by default. A copied cookie is noticed if its holder and
    /// the owner both keep using it on one node. Sessions whose idle time is less than 18 minutes are never looked at.
    ///
    /// Set it to `false` in these cases, because a single browser can look like two holders:
    ///
    /// - Clients share one cookie on purpose, such as the workers of a test.
    /// - Answers to GET take more than two minutes, such as those to long polls.
    /// - Answers that replace data ([`Jar::replace_data`]) overlap all the time, such as those to two polls that are sent again at
    ///   once. In simulations, this ended a session within hours, and with two long polls within half an hour.
    #[must_use]
    pub fn copy_detection(self, detects_copies: bool) -> Self {
        Self { detects_copies, ..self }
    }

    /// The path of the sign-in page, such as `/sign-in`. A browser that opens another page without a live session is redirected there
    /// (303), with the path of the page in `rd`: [`return_path`](super::return_path) reads it after the sign-in. Programs still get
    /// 401, and so does a request for the sign-in page itself. Without this, browsers get 401, too.
    ///
    /// The page must be open to everybody: a handler without [`Session`](super::Session), not below [`signed_in`](super::signed_in).
    #[must_use]
    pub fn sign_in_at(self, path: impl Into<String>) -> Self {
        Self { sign_in_at: Some(path.into()), ..self }
    }

    /// One session for all hosts of this domain, such as `example.com`, instead of one for each host. Every host below it is sent
    /// the cookie, and any of them can plant one.
    #[must_use]
    pub fn cookie_domain(self, domain: impl Into<String>) -> Self {
        Self { cookie_domain: Some(domain.into()), ..self }
    }

    /// Development only: cookies without `Secure`, for clients that drop those over plain HTTP. Only loopback origins are allowed
    /// with it, because whoever sees the traffic can take the session.
    #[must_use]
    pub fn plain_http(self) -> Self {
        Self { plain_http: true, ..self }
    }

    /// Opens the sessions: the key ring in the directory `keys`, which `sealjar keys init` makes and `sealjar keys rotate` changes
    /// under the running application; and the store of sign-outs, `sqlite://PATH` (made if it is missing) or
    /// `postgres://USER@HOST/DATABASE` for several nodes.
    ///
    /// Keys and store must be the application's own, shared by its nodes and with nothing else: whoever shares the keys can make its
    /// sessions, and a Sealjar server counts generations in another way. A store that has accounts is refused.
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
        let failed = |error: StoreError| OpenError::Store(Box::new(error));
        let Parsed { hosts, cookies, sign_in_page } = self.parse()?;
        let directory = keys.as_ref().to_owned();
        let ring = KeyRing::load(&directory)?;
        let url =
            StoreUrl::parse(store).map_err(|reason| OpenError::Setting(format!("the store's address: {reason}")))?;
        let (store, _) = Store::open_or_create(&url, LIMITS).await.map_err(failed)?;
        if store.has_accounts().await.map_err(failed)? {
            store.close().await;
            return Err(OpenError::Setting(
                "the store has the accounts of a Sealjar server, which counts their generations in another way: name a store of \
                 the application's own"
                    .to_owned(),
            ));
        }
        let freshness = Freshness { max_staleness: MAX_STALENESS, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        let lag = Arc::new(Lag::default());
        let follower = Follower::load(store.clone(), list.clone(), lag, self.lifetimes).await.map_err(failed)?;
        let (committer, committing) = Committer::start(list.clone(), store.clone());
        let sessions =
            Sessions::new(ring, list, cookies.session().clone(), self.lifetimes).with_max_candidates(MAX_CANDIDATES);
        sessions.detect_copies(self.detects_copies.then_some(DEFAULT_MEMORY));
        let core = Arc::new(Core { sessions, key_directory: Some(KeyDirectory::new(Now::read())) });
        let mut tasks = JoinSet::new();
        // A key that is refused takes effect with its entry, and there is nobody to tell.
        tasks.spawn(follower.run(|| ()));
        let follows = core.clone();
        tasks.spawn(async move {
            if let Some(reads) = &follows.key_directory {
                reads.follow(&follows.sessions, &directory, |_| ()).await;
            }
        });
        Ok(Jar(Arc::new(Inner {
            core,
            hosts,
            cookies,
            sign_in_page,
            refusals: Refusals::Store { store, committer, committing: tokio::sync::Mutex::new(Some(committing)) },
            changes: Changes::new(),
            tasks: Mutex::new(tasks),
        })))
    }

    /// Sessions that live in this process only, under a key of its own that is never written: when it ends, every session ends, so
    /// none that was signed out can come back. For tests, for development, and for tools of one process.
    ///
    /// # Errors
    /// [`OpenError::Setting`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn in_memory(self) -> Result<Jar, OpenError> {
        let Parsed { hosts, cookies, sign_in_page } = self.parse()?;
        let now = Now::read();
        let dates = Dates {
            created_at: now.wall,
            // Always, so that a clock that is set back does not stop it.
            activates_at: Some(crate::clock::UnixTime(0)),
            revoked_at: None,
            max_lifetime: self.lifetimes.longest(),
        };
        let ring = KeyRing::new(vec![Key::new(Secret::random(), dates)]);
        // There is nobody to hear from.
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        list.mark_synced(now);
        let sessions = Sessions::new(ring, list.clone(), cookies.session().clone(), self.lifetimes)
            .with_max_candidates(MAX_CANDIDATES);
        sessions.detect_copies(self.detects_copies.then_some(DEFAULT_MEMORY));
        let longest = self.lifetimes.longest();
        let refusals = Refusals::Memory { list: list.clone(), generation: AtomicU64::new(0), longest };
        let mut tasks = JoinSet::new();
        tasks.spawn(prune(list, now));
        let core = Arc::new(Core { sessions, key_directory: None });
        let changes = Changes::new();
        Ok(Jar(Arc::new(Inner { core, hosts, cookies, sign_in_page, refusals, changes, tasks: Mutex::new(tasks) })))
    }

    /// Returns what these settings make.
    fn parse(&self) -> Result<Parsed, OpenError> {
        let bad = |message: &str| OpenError::Setting(message.to_owned());
        let name = AppName::parse(&self.name)
            .ok_or_else(|| bad("the application's name must have 1 to 32 lower-case letters, digits or underscores"))?;
        for Lifetime { idle, absolute } in [self.lifetimes.ordinary, self.lifetimes.remembered] {
            Lifetime::new(idle, absolute).map_err(|_| {
                bad("an idle lifetime must be at least 10 s and at most the absolute one, and that at most ten years")
            })?;
        }
        let domain = |text| {
            let message = || bad(&format!("the cookie's domain {text:?} must be a name such as example.com"));
            Domain::parse(text).ok_or_else(message)
        };
        let domain = self.cookie_domain.as_deref().map(domain).transpose()?;
        let sites = Sites::new(&self.origins, domain, self.plain_http, false).map_err(|fault| {
            OpenError::Setting(match fault {
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
            return Err(bad("name at least one origin under which browsers reach the application"));
        }
        let hosts = Hosts::new(sites.origins().to_vec(), sites.domain().cloned(), Vec::new());
        let page = |path: &String| {
            SignInPage::parse(path)
                .ok_or_else(|| bad("the sign-in page must be a path such as /sign-in, without a query"))
        };
        let sign_in_page = self.sign_in_at.as_ref().map(page).transpose()?;
        Ok(Parsed { hosts, cookies: sites.cookies_of_app(&name), sign_in_page })
    }
}

/// Settings that were checked.
struct Parsed {
    hosts: Hosts,
    cookies: Cookies,
    sign_in_page: Option<SignInPage>,
}

/// Throws away what has expired, for ever; not while the clock has been set lately, because what a wrong time pruned would be
/// missing when it is right again.
async fn prune(list: Arc<RevocationList>, started: Now) {
    let mut steps = StepGuard::new(started);
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        let now = Now::read();
        if let Some(before) = steps.look(now) {
            tracing::warn!(%before, now = %now.wall, "the clock was set: nothing is pruned until it has been steady for a day");
        }
        if steps.may_prune(now) {
            list.prune(list.time(now));
        }
    }
}
