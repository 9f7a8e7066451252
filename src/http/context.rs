//! The request context: the head of a request, and the facts that handlers derive from it.
//!
//! `entrance.rs` creates one context for each request to the public listener. Handlers get it instead of Salvo's request, so all
//! of them use the same rules for hosts, clients and ids.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::Guard;
use salvo::conn::SocketAddr;
use salvo::http::header::HeaderMap;
use salvo::http::request::Parts;
use salvo::http::uri::Uri;
use salvo::http::{Method, Request, Version};
use tracing::Span;

use crate::clock::Now;
use crate::http::app::App;
use crate::http::pages::Shell;
use crate::http::pages::texts::Texts;
use crate::http::problem::Problem;
use crate::http::request_id::{RequestId, trace_id};
use crate::id::Site;
use crate::network::Client;
use crate::web::browser;
use crate::web::hosts::{self, Served};
use crate::web::{cookie, csrf};

/// A request without its body, and the [`App`] that was current when the request arrived.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) app: Guard<Arc<App>>,
    head: Parts,
    peer: SocketAddr,
    /// Announced length of the body in bytes, or a lower bound of it (0 if the client announced no length).
    body_bytes: u64,
    /// Id of the request. `None` on hot routes.
    id: Option<RequestId>,
    /// Whether this request has waited for a new read of the key ring.
    has_reread_keys: AtomicBool,
}

impl Context {
    pub(crate) const fn new(app: Guard<Arc<App>>, head: Parts, peer: SocketAddr, body_bytes: u64) -> Self {
        Self { app, head, peer, body_bytes, id: None, has_reread_keys: AtomicBool::new(false) }
    }

    /// Converts the context for a request that may wait. [`AppHandle::load`](crate::http::app::AppHandle::load) explains why
    /// this is necessary.
    pub(crate) fn into_long_lived(self) -> Self {
        Self { app: Guard::from_inner(Guard::into_inner(self.app)), ..self }
    }

    /// Converts the context for a request that may wait, and gives it an id: the id from a trusted proxy, or a new random id.
    pub(crate) fn identified(self) -> Self {
        let id = self.id_of_proxy().unwrap_or_else(RequestId::random);
        Self { id: Some(id), ..self.into_long_lived() }
    }

    /// Returns the context that the entrance stored in a request, or `None` for requests to the admin listener.
    pub(crate) fn of(request: &Request) -> Option<Arc<Self>> {
        request.extensions().get().cloned()
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Now {
        self.app.clock.now()
    }

    pub(crate) const fn method(&self) -> &Method {
        &self.head.method
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.head.uri
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(crate) const fn version(&self) -> Version {
        self.head.version
    }

    /// Returns the raw `Cookie` fields.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &[u8]> {
        cookie::fields(self.headers())
    }

    /// Returns the address of the other end of the connection.
    pub(crate) const fn peer(&self) -> &SocketAddr {
        &self.peer
    }

    pub(crate) const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// Returns the client of the request: the peer, or the address that trusted proxies report.
    pub(crate) fn client(&self) -> Client {
        let address = self.app.trusted_proxies.client(self.peer.ip(), self.headers());
        Client { address, form: self.app.client_form }
    }

    /// Returns whether the peer is a trusted proxy. Only then are forwarded fields accepted.
    pub(crate) fn is_from_proxy(&self) -> bool {
        self.app.trusted_proxies.contains(self.peer.ip())
    }

    /// Returns whether the browser will show the response as a page.
    pub(crate) fn is_navigation(&self) -> bool {
        browser::is_navigation(self.headers())
    }

    /// Returns the origin that the request names, and its site.
    ///
    /// # Errors
    /// [`Problem::Authority`] and [`Problem::Misdirected`].
    pub(crate) fn served(&self) -> Result<&Served, Problem> {
        Ok(self.app.hosts.find_public(self.uri(), self.headers())?)
    }

    /// Returns the host that the request names, to show it on a page. The host is not necessarily one that this server serves.
    /// The text is empty if the request does not name exactly one host.
    pub(crate) fn host(&self) -> Cow<'_, str> {
        /// Maximum length of a host name and a port.
        const MAX_BYTES: usize = 260;
        if let Ok(served) = self.served() {
            return served.origin.authority().into();
        }
        let named = hosts::authority(self.uri(), self.headers()).unwrap_or_default();
        String::from_utf8_lossy(&named[..named.len().min(MAX_BYTES)])
    }

    /// Returns the layout of a page with the heading `heading`.
    pub(crate) fn shell(&self, heading: &'static str) -> Shell<'_> {
        self.app.pages.shell(self.host(), heading)
    }

    /// Returns the texts of the pages.
    pub(crate) fn texts(&self) -> &'static Texts {
        self.app.pages.texts
    }

    /// Returns the site of the host that the request names.
    ///
    /// # Errors
    /// All errors of [`Self::served`].
    pub(crate) fn site(&self) -> Result<Site, Problem> {
        self.served().map(|served| served.site)
    }

    /// Checks whether a request may reach its handler. The order is: the host that it names (all other checks depend on it), the
    /// announced length of its body, and the site that sent it.
    pub(crate) fn admit(&self) -> Result<&Served, Problem> {
        let served = self.served()?;
        self.admit_for_any_host()?;
        Ok(served)
    }

    /// Checks length and sender like [`Self::admit`], but not the host. Used for routes that are served for every host.
    pub(crate) fn admit_for_any_host(&self) -> Result<(), Problem> {
        if self.body_bytes > u64::from(self.app.max_body_bytes) {
            return Err(Problem::TooLarge);
        }
        csrf::check(self.method(), self.headers(), &self.app.hosts)?;
        Ok(())
    }

    /// Waits until the key ring is read again, because a token of the request names a key that this server does not have. A
    /// request waits only once: further calls return immediately.
    ///
    /// # Errors
    /// [`Problem::KeyWaits`] without waiting, if too many requests wait already.
    pub(crate) async fn reread_keys(&self) -> Result<(), Problem> {
        if !self.has_reread_keys() {
            self.app.key_ring_waits.run(self.client(), self.app.key_directory.reread()).await?;
            self.has_reread_keys.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns whether [`Self::reread_keys`] has waited. If it has, the handler of a hot route is called a second time. The
    /// second call must not count or log anything that the first call has counted or logged.
    pub(crate) fn has_reread_keys(&self) -> bool {
        self.has_reread_keys.load(Ordering::Relaxed)
    }

    /// Returns the id of the request. On hot routes, returns the id from a trusted proxy, or `None` if the proxy sent no id.
    pub(crate) fn any_id(&self) -> Option<RequestId> {
        self.id.clone().or_else(|| self.id_of_proxy())
    }

    fn id_of_proxy(&self) -> Option<RequestId> {
        self.is_from_proxy().then(|| RequestId::of_headers(self.headers())).flatten()
    }

    /// Returns the span for log lines about the request, or an empty span if the request has no id.
    pub(crate) fn span(&self) -> Span {
        let Some(id) = self.any_id() else {
            return Span::none();
        };
        let trace_id = self.is_from_proxy().then(|| trace_id(self.headers())).flatten();
        // The span has the level `error`, so that it is enabled whenever audit events are enabled.
        tracing::error_span!(target: "sealjar::audit", "request", request_id = id.as_str(), trace_id)
    }
}
