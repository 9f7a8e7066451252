//! A server for tests of routes: key files, an SQLite database with the account `alice`, and a clock that the test moves.
//!
//! [`Site`] starts the background tasks of a server, and aborts them when it is dropped. [`super::request`] sends requests to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use salvo::conn::ConnCtrl;
use salvo::http::uri::Scheme;
use salvo::http::{Method, ReqBody, ResBody};
use salvo::hyper::service::Service;
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::account::{DisplayName, Email, LoginName, Password, Profile, Roles};
use crate::clock::{Clock, Now, UnixTime};
use crate::config::layers::Flag;
use crate::config::settings::Settings;
use crate::config::sources::ConfigSources;
use crate::hardening::{Hardening, LandlockStatus};
use crate::http;
use crate::http::app::{App, AppHandle};
use crate::http::connections::Connections;
use crate::http::connections::exchange::ConnectionTracker;
use crate::http::entrance::Entrance;
use crate::http::node_reports;
use crate::http::pages::Pages;
use crate::http::routes::Routes;
use crate::id::Kid;
use crate::keyring::KeyRing;
use crate::keyring::rotate::LockedRing;
use crate::revocation::RevocationList;
use crate::routes::request::RequestBuilder;
use crate::routes::response::Session;
use crate::server::app;
use crate::store::Store;
use crate::store::records::{Account, Change, EmptyPolicy};
use crate::sync::committer::{CommitTask, Committer};

/// Password of an account, unless a test sets another password.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Public origin of a site with the default settings.
pub(crate) const ORIGIN: &str = "http://127.0.0.1";

/// A server with its state. Its background tasks are aborted when it is dropped.
pub(crate) struct Site {
    pub(crate) handle: AppHandle,
    pub(crate) app: Arc<App>,
    routes: Arc<Routes>,
    tracker: Arc<ConnectionTracker>,
    clock: Arc<Mutex<Now>>,
    keys: PathBuf,
    settings: Settings,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Stops the committer when it is dropped.
    _commit_task: CommitTask,
    home: Arc<TempDir>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Starts a site with these settings, such as `session.idle=10s`. The cost of password hashing is the minimum.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a directory"));
        let settings = parse(&home, settings);
        let now = Now::read();
        let keys = home.path().join("keys");
        LockedRing::init(&keys, settings.lifetimes.longest(), now.wall).expect("a new directory");
        Store::create(&settings.store).expect("a new database");
        let store = Store::open(&settings.store, settings.store_limits, EmptyPolicy::Filled).await.expect("a database");
        let site = Self::start(home, keys, settings, store, now);
        site.add_user("alice", &["staff"]).await;
        site
    }

    /// Starts another server with the same store. It has a copy of the key files and its own clock.
    pub(crate) async fn another_server(&self) -> Self {
        self.another(self.settings.clone()).await
    }

    /// Starts another server with the same store and these settings.
    pub(crate) async fn another_server_with(&self, settings: &[&str]) -> Self {
        self.another(parse(&self.home, settings)).await
    }

    async fn another(&self, settings: Settings) -> Self {
        let keys = tempfile::tempdir_in(self.home.path()).expect("a directory").keep();
        for key in std::fs::read_dir(&self.keys).expect("the key directory") {
            let key = key.expect("a file");
            std::fs::copy(key.path(), keys.join(key.file_name())).expect("a copy");
        }
        let other = Self::start(self.home.clone(), keys, settings, self.app.store.clone(), self.now());
        other.catch_up().await;
        other
    }

    fn start(home: Arc<TempDir>, keys: PathBuf, settings: Settings, store: Store, now: Now) -> Self {
        let list = Arc::new(RevocationList::new(settings.freshness));
        list.mark_synced(now);
        let (committer, commit_task) = Committer::start(list.clone(), store.clone());
        let connections = Connections::new(16, settings.idle_timeout, settings.trusted_proxies.clone());
        let clock = Arc::new(Mutex::new(now));
        let parts = app::Parts {
            clock: Clock::Fixed(clock.clone()),
            ring: KeyRing::load(&keys).expect("a valid key ring"),
            list,
            lag: Arc::default(),
            store,
            committer,
            connections: connections.clone(),
            tls: None,
            pages: Pages::open(&settings.pages, settings.sites.plain_http()).expect("a logo that can be read"),
            port: None,
            hardening: Hardening { dumpable: false, landlock: LandlockStatus::Off },
        };
        let handle = AppHandle::new(app::new(&settings, parts).expect("threads start"));
        let site = Self {
            tracker: connect(&connections),
            routes: Arc::new(http::public(handle.clone())),
            app: handle.load_full(),
            handle,
            clock,
            keys,
            settings,
            tasks: Mutex::default(),
            _commit_task: commit_task,
            home,
        };
        site.start_background_tasks();
        site
    }

    /// Replaces the public routes.
    pub(crate) fn replace_routes(&mut self, routes: Routes) {
        self.routes = Arc::new(routes);
    }

    /// Starts the tasks that read the key directory and the reports of other servers. Requests may wait for these tasks.
    pub(crate) fn start_background_tasks(&self) {
        let app = self.app.clone();
        let keys = self.keys.clone();
        let reports = tokio::spawn(node_reports::read_on_request(app.node_reports.clone(), app.store.clone()));
        let reads = tokio::spawn(async move { app.key_directory.follow(&app.sessions, &keys, |_| ()).await });
        self.tasks.lock().expect("no panic").extend([reports, reads]);
    }

    /// Aborts the tasks of [`Self::start_background_tasks`]. Requests that need them wait until it is called again.
    pub(crate) fn stop_background_tasks(&self) {
        self.tasks.lock().expect("no panic").drain(..).for_each(|task| task.abort());
    }

    /// Adds an account with [`PASSWORD`].
    pub(crate) async fn add_user(&self, login: &str, roles: &[&str]) {
        self.add_account(login, roles, PASSWORD, false).await;
    }

    pub(crate) async fn add_account(&self, login: &str, roles: &[&str], password: &str, must_change: bool) {
        let profile = Profile {
            login_name: name(login),
            display_name: "".parse::<DisplayName>().expect("a name"),
            email: "".parse::<Email>().expect("an address"),
            roles: Roles::new(&roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>()).expect("roles"),
        };
        self.add_profile(profile, password, must_change).await;
    }

    pub(crate) async fn add_profile(&self, profile: Profile, password: &str, must_change: bool) {
        let hash = self.hash(password, &profile).await;
        let account = Account::new(profile, hash, must_change, self.now().wall);
        self.app.store.add_account(&account).await.expect("an unused login name");
    }

    async fn hash(&self, password: &str, profile: &Profile) -> String {
        let password = Password::new(password.to_owned().into());
        let hashed = self.app.passwords.hash_new(password, profile.clone()).await.expect("the queue is empty");
        hashed.expect("an acceptable password")
    }

    /// Returns the change with which an operator sets this password.
    pub(crate) async fn password(&self, login: &str, password: &str, must_change: bool) -> Change {
        let account = self.app.store.require_account(&name(login)).await.expect("an account");
        Change::Password { hash: self.hash(password, &account.profile).await, must_change }
    }

    /// Waits until a password is queued for its check. The test must hold the password thread.
    pub(crate) async fn until_password_waits(&self) {
        let waits = async {
            while self.app.passwords.waiting().0 == [0, 0] {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waits).await.expect("a password waits to be checked");
    }

    /// Waits until every entry of the revocation list of this server is durable.
    pub(crate) async fn until_nothing_is_pending(&self) {
        let stored = async {
            while self.app.sessions.revocations().pending() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), stored).await.expect("the store accepts revocations");
    }

    /// Changes an account as an operator does. Then this server reads the log of revocations.
    pub(crate) async fn change(&self, login: &str, change: Change) {
        self.app.store.change_account(&name(login), &change).await.expect("an account");
        self.catch_up().await;
    }

    /// Reads the log of revocations from the store. A real server does this four times a second.
    pub(crate) async fn catch_up(&self) {
        crate::sync::log_reader::load(&self.app.store, self.app.sessions.revocations()).await.expect("a store");
        self.app.sessions.revocations().mark_synced(self.now());
    }

    /// Creates a key that seals from now on, and reloads the key ring.
    pub(crate) fn rotate(&self) -> Kid {
        let kid = self.publish(self.now().wall);
        self.reload_keys();
        kid
    }

    fn reload_keys(&self) {
        // A read in progress would replace the new key ring by the old one.
        self.stop_background_tasks();
        self.app.sessions.replace_ring(KeyRing::load(&self.keys).expect("a valid key ring"));
        self.start_background_tasks();
    }

    /// Creates a key file. The key seals from `activates_at`, or from the next second at which no other key starts.
    pub(crate) fn publish(&self, activates_at: UnixTime) -> Kid {
        let ring = LockedRing::lock(&self.keys).expect("no other process holds the lock");
        let rotated = ring.rotate(activates_at, Duration::from_secs(90 * 24 * 3600), self.now().wall);
        rotated.expect("a writable directory").0
    }

    pub(crate) fn key_file(&self, kid: Kid) -> PathBuf {
        self.keys.join(format!("{kid}.key"))
    }

    /// Removes `activates_at` from the file of a key, and reloads the key ring. The key then opens tokens, but does not seal
    /// them.
    pub(crate) fn unschedule(&self, kid: Kid) {
        let file = self.key_file(kid);
        let text = std::fs::read_to_string(&file).expect("a key file");
        let lines = text.lines().filter(|line| !line.starts_with("activates_at")).map(|line| format!("{line}\n"));
        std::fs::write(&file, lines.collect::<String>()).expect("a writable file");
        self.reload_keys();
    }

    /// Copies a key file to another server. The rename makes the copy atomic.
    pub(crate) fn deliver(&self, kid: Kid, other: &Self) {
        let new = other.keys.join(".new");
        std::fs::copy(self.key_file(kid), &new).expect("a copy");
        std::fs::rename(new, other.key_file(kid)).expect("a writable directory");
    }

    /// Revokes a key, creates its replacement, and reloads the key ring.
    pub(crate) fn revoke_key(&self, kid: Kid) {
        let ring = LockedRing::lock(&self.keys).expect("no other process holds the lock");
        let revocation = ring.begin_revoking(kid, true, &[], self.now().wall).expect("a key of the ring");
        revocation.finish().expect("a writable directory");
        self.reload_keys();
    }

    /// Runs a statement on the database directly, without the store.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let database = SqliteConnectOptions::new().filename(self.home.path().join("sealjar.db"));
        let mut connection = database.connect().await.expect("a database");
        sqlx::query(statement).execute(&mut connection).await.expect("a valid statement");
    }

    pub(crate) fn now(&self) -> Now {
        *self.clock.lock().expect("no panic")
    }

    /// Moves the clock forward. The revocation list counts as synchronized.
    pub(crate) fn advance(&self, span: Duration) {
        self.advance_unsynced(span);
        self.app.sessions.revocations().mark_synced(self.now());
    }

    /// Moves the clock forward, as if the store could not be read meanwhile. The revocation list may become stale.
    pub(crate) fn advance_unsynced(&self, span: Duration) {
        let mut now = self.clock.lock().expect("no panic");
        *now = Now { wall: now.wall.plus(span), boot: now.boot + span };
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, Method::HEAD, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, Method::POST, path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, method.parse().expect("a method"), path)
    }

    /// Logs in with [`PASSWORD`].
    pub(crate) async fn login(&self, login: &str) -> Session {
        let response = self.post("/auth/login").json(&login_body(login, PASSWORD)).send().await;
        assert_eq!(response.verdict(), "200");
        response.session.expect("a session cookie")
    }

    /// Logs in on a host with [`PASSWORD`].
    pub(crate) async fn login_at(&self, host: &str, login: &str) -> Session {
        let login = self.post("/auth/login").header("host", host).json(&login_body(login, PASSWORD));
        login.send().await.session.expect("a session cookie")
    }

    /// Requests `/auth/status`. Returns `200`, or the status and the reason of the problem.
    pub(crate) async fn status(&self, session: &Session) -> String {
        self.get("/auth/status").session(session).send().await.verdict()
    }

    pub(crate) async fn logout(&self, session: &Session) -> String {
        self.post("/auth/logout").session(session).send().await.verdict()
    }

    /// Passes a request to the entrance, as a connection does.
    pub(super) async fn send(&self, peer: SocketAddr, request: HyperRequest<ReqBody>) -> HyperResponse<ResBody> {
        let service = self.routes.service();
        let salvo = service.hyper_handler(peer.into(), peer.into(), Scheme::HTTP, None, ConnCtrl::new(), None);
        let entrance = Entrance::new(self.routes.clone(), peer.into(), self.tracker.clone(), salvo);
        entrance.call(request).await.expect("a response")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_background_tasks();
    }
}

/// Parses settings, after defaults for the store and for cheap password hashing.
fn parse(home: &TempDir, settings: &[&str]) -> Settings {
    let store = format!("store=sqlite://{}", home.path().join("sealjar.db").display());
    let base = ["password.memory_kib=7168", "password.passes=1", "password.threads=1", "password.queue=256", &store];
    let flag = |text: &str| {
        let (setting, text) = text.split_once('=').expect("a setting and its value");
        Flag { flag: "--set".to_owned(), setting: setting.to_owned(), text: text.to_owned() }
    };
    let flags: Vec<_> = base.iter().chain(settings).map(|text| flag(text)).collect();
    let (layers, config) = ConfigSources::new(None, Vec::new(), flags).read().expect("well-formed settings");
    config.parse(&layers).expect("valid settings")
}

/// Opens a connection that stays open, and returns the tracker of its requests.
fn connect(connections: &Arc<Connections>) -> Arc<ConnectionTracker> {
    let mut tracker = None;
    let peer = SocketAddr::from(([127, 0, 0, 1], 1)).into();
    connections.open(&peer, &TaskTracker::new(), |connection| {
        tracker = Some(connection.tracker());
        async move {
            std::future::pending::<()>().await;
            drop(connection);
        }
    });
    tracker.expect("the connection is open")
}

pub(crate) fn name(login: &str) -> LoginName {
    login.parse().expect("a login name")
}

pub(crate) fn login_body(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}
