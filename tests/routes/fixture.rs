//! A site that tests send requests to: keys, a database with the account `alice`, and a clock that the test moves.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use salvo::conn::ConnCtrl;
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};
use salvo::http::uri::Scheme;
use salvo::http::{Method, ReqBody, ResBody, Version};
use salvo::hyper::body::Bytes;
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
use crate::config::layers::{Flag, Layers};
use crate::config::settings::Settings;
use crate::http;
use crate::http::app::{App, AppHandle};
use crate::http::connections::Connections;
use crate::http::connections::exchange::Tracker;
use crate::http::entrance::Entrance;
use crate::http::node_reports;
use crate::http::routes::Routes;
use crate::id::Kid;
use crate::keyring::KeyRing;
use crate::keyring::rotate::LockedRing;
use crate::revocation::RevocationList;
use crate::seal::token::UntrustedToken;
use crate::server::app;
use crate::store::Store;
use crate::store::records::{Account, Change, Empty};
use crate::sync::committer::{Committer, Committing};

pub(crate) const PASSWORD: &str = "correct horse battery";
/// Where browsers reach the site, unless its settings say otherwise.
pub(crate) const ORIGIN: &str = "http://127.0.0.1";

/// A site with its state. Its tasks end with it.
pub(crate) struct Site {
    pub(crate) handle: AppHandle,
    pub(crate) app: Arc<App>,
    routes: Arc<Routes>,
    tracker: Arc<Tracker>,
    clock: Arc<Mutex<Now>>,
    keys: PathBuf,
    settings: Settings,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Stops the committer when it is dropped.
    _committing: Committing,
    home: Arc<TempDir>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A site with these settings, such as `session.idle=10s`. Hashing is as cheap as it may be.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a directory"));
        let settings = parse(&home, settings);
        let now = Now::read();
        let keys = home.path().join("keys");
        LockedRing::init(&keys, settings.lifetimes.longest(), now.wall).expect("a new directory");
        Store::create(&settings.store).expect("a new database");
        let store = Store::open(&settings.store, settings.store_limits, Empty::Filled).await.expect("a database");
        let site = Self::start(home, keys, settings, store, now);
        site.add_user("alice", &["staff"]).await;
        site
    }

    /// Starts another server of the same store. It has a copy of the keys and a clock of its own.
    pub(crate) async fn another_server(&self) -> Self {
        self.another(self.settings.clone()).await
    }

    /// Starts another server of the same store, which has these settings.
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
        let (committer, committing) = Committer::start(list.clone(), store.clone());
        let connections = Connections::new(16, settings.idle_timeout, settings.trusted_proxies.clone());
        let clock = Arc::new(Mutex::new(now));
        let parts = app::Parts {
            clock: Clock::Fixed(clock.clone()),
            ring: KeyRing::load(&keys).expect("a good ring"),
            list,
            lag: Arc::default(),
            store,
            committer,
            connections: connections.clone(),
            tls: None,
            port: None,
        };
        let handle = AppHandle::new(app::new(&settings, parts).expect("threads start"));
        let site = Self {
            tracker: connect(&connections),
            routes: Arc::new(http::public(handle.clone())),
            app: handle.hold(),
            handle,
            clock,
            keys,
            settings,
            tasks: Mutex::default(),
            _committing: committing,
            home,
        };
        site.follow();
        site
    }

    /// Answers the requests that wait for a read of the key directory or for other servers' reports.
    pub(crate) fn follow(&self) {
        let app = self.app.clone();
        let keys = self.keys.clone();
        let reports = tokio::spawn(node_reports::follow(app.node_reports.clone(), app.store.clone()));
        let reads = tokio::spawn(async move { app.key_directory.follow(&app.sessions, &keys, |_| ()).await });
        self.tasks.lock().expect("no panic").extend([reports, reads]);
    }

    /// Lets such requests wait until [`Self::follow`].
    pub(crate) fn stop_following(&self) {
        self.tasks.lock().expect("no panic").drain(..).for_each(|task| task.abort());
    }

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
        self.app.store.add_account(&account).await.expect("a name that is not taken");
    }

    async fn hash(&self, password: &str, profile: &Profile) -> String {
        let password = Password::new(password.to_owned().into());
        let hashed = self.app.passwords.hash_new(password, profile.clone()).await.expect("the queue is empty");
        hashed.expect("a password that is good enough")
    }

    /// Returns the change to a password that an operator chose.
    pub(crate) async fn password(&self, login: &str, password: &str, must_change: bool) -> Change {
        let account = self.app.store.require(&name(login)).await.expect("an account");
        Change::Password { hash: self.hash(password, &account.profile).await, must_change }
    }

    /// Returns once a request waits for its password to be checked. The thread that would do it must be held.
    pub(crate) async fn until_password_waits(&self) {
        while self.app.passwords.waiting().0 == [0, 0] {
            tokio::task::yield_now().await;
        }
    }

    /// Changes an account as an operator does, and lets this server hear of it.
    pub(crate) async fn change(&self, login: &str, change: Change) {
        self.app.store.change_account(&name(login), &change).await.expect("an account");
        self.catch_up().await;
    }

    /// Reads the store's log, as a server does four times a second.
    pub(crate) async fn catch_up(&self) {
        crate::sync::log_reader::load(&self.app.store, self.app.sessions.revocations()).await.expect("a store");
        self.app.sessions.revocations().mark_synced(self.now());
    }

    /// Makes another key, which seals at once, and reads the ring again.
    pub(crate) fn rotate(&self) -> Kid {
        let kid = self.publish(self.now().wall);
        self.read_keys();
        kid
    }

    fn read_keys(&self) {
        // A read that is under way would put the ring before back in use.
        self.stop_following();
        self.app.sessions.replace_ring(KeyRing::load(&self.keys).expect("a good ring"));
        self.follow();
    }

    /// Makes a key file, which is to seal from this second on or from the next one that is free.
    pub(crate) fn publish(&self, activates_at: UnixTime) -> Kid {
        let ring = LockedRing::lock(&self.keys).expect("nobody else rotates");
        let made = ring.rotate(activates_at, Duration::from_secs(90 * 24 * 3600), self.now().wall);
        made.expect("a writable directory").0
    }

    pub(crate) fn key_file(&self, kid: Kid) -> PathBuf {
        self.keys.join(format!("{kid}.key"))
    }

    /// Copies a key file to another server. There it is whole or not at all.
    pub(crate) fn deliver(&self, kid: Kid, other: &Self) {
        let new = other.keys.join(".new");
        std::fs::copy(self.key_file(kid), &new).expect("a copy");
        std::fs::rename(new, other.key_file(kid)).expect("a writable directory");
    }

    /// Revokes a key with a successor, and reads the ring again.
    pub(crate) fn revoke_key(&self, kid: Kid) {
        let ring = LockedRing::lock(&self.keys).expect("nobody else rotates");
        let revocation = ring.begin_revoking(kid, true, &[], self.now().wall).expect("a key of the ring");
        revocation.finish().expect("a writable directory");
        self.read_keys();
    }

    /// Runs a statement on the database, behind the store's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let database = SqliteConnectOptions::new().filename(self.home.path().join("sealjar.db"));
        let mut connection = database.connect().await.expect("a database");
        sqlx::query(statement).execute(&mut connection).await.expect("a good statement");
    }

    pub(crate) fn now(&self) -> Now {
        *self.clock.lock().expect("no panic")
    }

    /// Lets time pass. The list of revocations stays up to date.
    pub(crate) fn advance(&self, span: Duration) {
        self.advance_unsynced(span);
        self.app.sessions.revocations().mark_synced(self.now());
    }

    /// Lets time pass in which the store could not be read.
    pub(crate) fn advance_unsynced(&self, span: Duration) {
        let mut now = self.clock.lock().expect("no panic");
        *now = Now { wall: now.wall.plus(span), boot: now.boot + span };
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        Ask::new(self, Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> Ask<'_> {
        Ask::new(self, Method::HEAD, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        Ask::new(self, Method::POST, path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Ask<'_> {
        Ask::new(self, method.parse().expect("a method"), path)
    }

    /// Signs in with the usual password.
    pub(crate) async fn login(&self, login: &str) -> Session {
        let answer = self.post("/auth/login").json(&login_body(login, PASSWORD)).send().await;
        assert_eq!(answer.verdict(), "200");
        answer.session.expect("a session cookie")
    }

    /// Signs in on a host, with the usual password.
    pub(crate) async fn login_at(&self, host: &str, login: &str) -> Session {
        let login = self.post("/auth/login").header("host", host).json(&login_body(login, PASSWORD));
        login.send().await.session.expect("a session cookie")
    }

    /// Returns `200`, or the status and reason of a refusal.
    pub(crate) async fn status(&self, session: &Session) -> String {
        self.get("/auth/status").session(session).send().await.verdict()
    }

    pub(crate) async fn logout(&self, session: &Session) -> String {
        self.post("/auth/logout").session(session).send().await.verdict()
    }

    async fn send(&self, peer: SocketAddr, request: HyperRequest<ReqBody>) -> HyperResponse<ResBody> {
        let service = self.routes.service();
        let salvo = service.hyper_handler(peer.into(), peer.into(), Scheme::HTTP, None, ConnCtrl::new(), None);
        let entrance = Entrance::new(self.routes.clone(), peer.into(), self.tracker.clone(), salvo);
        entrance.call(request).await.expect("an answer")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_following();
    }
}

fn parse(home: &TempDir, settings: &[&str]) -> Settings {
    let store = format!("store=sqlite://{}", home.path().join("sealjar.db").display());
    let cheap = ["password.memory_kib=7168", "password.passes=1", "password.threads=1", "password.queue=256", &store];
    let flag = |text: &str| {
        let (setting, text) = text.split_once('=').expect("a setting and its value");
        Flag { flag: "--set".to_owned(), setting: setting.to_owned(), text: text.to_owned() }
    };
    let flags: Vec<_> = cheap.iter().chain(settings).map(|text| flag(text)).collect();
    let layers = Layers::read(None, [], &flags).expect("well-formed settings");
    layers.config().expect("well-formed settings").parse(&layers).expect("good settings")
}

/// A connection that stays open.
fn connect(connections: &Arc<Connections>) -> Arc<Tracker> {
    let mut tracker = None;
    let peer = SocketAddr::from(([127, 0, 0, 1], 1)).into();
    connections.open(&peer, &TaskTracker::new(), |connection| {
        tracker = Some(connection.tracker());
        async move {
            std::future::pending::<()>().await;
            drop(connection);
        }
    });
    tracker.expect("it was opened")
}

pub(crate) fn name(login: &str) -> LoginName {
    login.parse().expect("a login name")
}

pub(crate) fn login_body(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}

/// A request that is being made.
pub(crate) struct Ask<'s> {
    site: &'s Site,
    peer: IpAddr,
    version: Version,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: ReqBody,
}

impl<'s> Ask<'s> {
    fn new(site: &'s Site, method: Method, path: &str) -> Self {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("host"), HeaderValue::from_static("127.0.0.1"))]);
        let peer = IpAddr::from([127, 0, 0, 1]);
        Self { site, peer, version: Version::HTTP_11, method, path: path.to_owned(), headers, body: ReqBody::None }
    }

    /// Sends it over HTTP/2.
    pub(crate) fn http2(self) -> Self {
        Self { version: Version::HTTP_2, ..self }
    }

    /// Sends it from another address.
    pub(crate) fn from(self, peer: &str) -> Self {
        Self { peer: peer.parse().expect("an address"), ..self }
    }

    /// Sets a header field; the usual `Host` is replaced.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a field's name");
        let value = HeaderValue::from_str(value).expect("a field's value");
        if name == "host" {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
        self
    }

    /// Sets header fields, as [`Ask::header`] does.
    pub(crate) fn headers(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |ask, (name, value)| ask.header(name, value))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    pub(crate) fn session(self, session: &Session) -> Self {
        self.cookie(&session.cookie())
    }

    /// Sends it as a browser that shows the answer to its user does.
    pub(crate) fn navigate(self) -> Self {
        let site = self.header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "navigate");
        site.header("accept", "text/html,*/*;q=0.8")
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = serde_urlencoded::to_string(fields).expect("texts");
        self.body("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn body(self, media_type: &str, body: impl Into<Bytes>) -> Self {
        let with_type = if media_type.is_empty() { self } else { self.header("content-type", media_type) };
        Self { body: ReqBody::Once(body.into()), ..with_type }
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = HyperRequest::new(self.body);
        let target = if self.version == Version::HTTP_2 && self.path.starts_with('/') {
            format!("http://{}{}", self.headers["host"].to_str().expect("ASCII"), self.path)
        } else {
            self.path
        };
        *request.uri_mut() = target.parse().expect("a target");
        *request.method_mut() = self.method;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        Answer::of(self.site.send(SocketAddr::new(self.peer, 1), request).await).await
    }
}

/// A session's cookie, as a browser keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) String);

impl Session {
    /// Returns the key that sealed it.
    pub(crate) fn kid(&self) -> Kid {
        UntrustedToken::from_cookie_value(self.0.as_bytes()).and_then(UntrustedToken::kid).expect("a token")
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let set = headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII"));
        let mut ours = set.filter_map(|value| value.strip_prefix("__Host-sealjar="));
        let (token, _) = ours.next()?.split_once(';')?;
        assert!(ours.next().is_none(), "one Set-Cookie of a name at most");
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    pub(crate) fn cookie(&self) -> String {
        format!("__Host-sealjar={}", self.0)
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) session: Option<Session>,
}

impl Answer {
    async fn of(response: HyperResponse<ResBody>) -> Self {
        let (head, body) = response.into_parts();
        let body = collect(body).await;
        let body = String::from_utf8(body).expect("text");
        Self { status: head.status.as_u16(), session: Session::of(&head.headers), headers: head.headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Returns name and value of the cookie that is set, as a browser sends it back.
    pub(crate) fn set_cookie(&self) -> &str {
        self.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie is set")
    }

    /// Returns the value of a page's hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let start = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start).unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        rest.split_once('"').expect("the value ends").0.to_owned()
    }

    /// Returns status and body of an answer that is a page.
    pub(crate) fn page(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{}", self.body);
        (self.status, &self.body)
    }

    /// Returns `200`, or status and reason of a problem.
    pub(crate) fn verdict(&self) -> String {
        if self.status < 400 {
            return self.status.to_string();
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        format!("{} {}", self.status, problem["reason"].as_str().expect("a reason"))
    }
}

async fn collect(mut body: ResBody) -> Vec<u8> {
    use salvo::hyper::body::Body;
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame.expect("a frame").into_data().expect("no trailers"));
    }
    bytes
}
