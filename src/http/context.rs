//! The request context: the head of a request, and what is known about it. It is made once, where the request enters.

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

/// A request without its body, and the app as it was when the request came.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) app: Guard<Arc<App>>,
    head: Parts,
    peer: SocketAddr,
    /// Least length of the body, in bytes, as far as it is announced.
    body_bytes: u64,
    /// `None` on hot routes.
    id: Option<RequestId>,
    has_reread_keys: AtomicBool,
}

impl Context {
    pub(crate) const fn new(app: Guard<Arc<App>>, head: Parts, peer: SocketAddr, body_bytes: u64) -> Self {
        Self { app, head, peer, body_bytes, id: None, has_reread_keys: AtomicBool::new(false) }
    }

    /// Returns the context of a request that may wait.
    pub(crate) fn held(self) -> Self {
        Self { app: Guard::from_inner(Guard::into_inner(self.app)), ..self }
    }

    /// Returns the context of a request that may wait and has an id: that of a trusted proxy, or a new one.
    pub(crate) fn identified(self) -> Self {
        let id = self.id_of_proxy().unwrap_or_else(RequestId::random);
        Self { id: Some(id), ..self.held() }
    }

    /// Returns the context of a request that came through the entrance.
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

    /// Returns where the request came from.
    pub(crate) fn client(&self) -> Client {
        let address = self.app.trusted_proxies.client(self.peer.ip(), self.headers());
        Client { address, form: self.app.client_form }
    }

    /// Returns whether a trusted proxy sent the request, so that its forwarded fields are believed.
    pub(crate) fn is_from_proxy(&self) -> bool {
        self.app.trusted_proxies.contains(self.peer.ip())
    }

    /// Returns whether the answer will be shown as a page.
    pub(crate) fn is_navigation(&self) -> bool {
        browser::is_navigation(self.headers())
    }

    /// Returns the origin that the request names, and its site.
    ///
    /// # Errors
    /// [`Problem::Authority`] and [`Problem::Misdirected`].
    pub(crate) fn served(&self) -> Result<&Served, Problem> {
        Ok(self.app.hosts.of_request(self.uri(), self.headers())?)
    }

    /// Returns the host that the request names, for showing. It may be one that is not served. It is empty if there is not exactly one.
    pub(crate) fn host(&self) -> Cow<'_, str> {
        /// Longest name and port.
        const MAX_BYTES: usize = 260;
        if let Ok(served) = self.served() {
            return served.origin.authority().into();
        }
        let named = hosts::authority(self.uri(), self.headers()).unwrap_or_default();
        String::from_utf8_lossy(&named[..named.len().min(MAX_BYTES)])
    }

    /// Returns the frame of a page with this heading.
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
    /// As for [`Self::served`].
    pub(crate) fn site(&self) -> Result<Site, Problem> {
        self.served().map(|served| served.site)
    }

    /// Lets a request in or not, in this order: the host it names (nothing else means anything before that), the length it
    /// announces, and where it comes from.
    pub(crate) fn admit(&self) -> Result<&Served, Problem> {
        let served = self.served()?;
        self.admit_for_any_host()?;
        Ok(served)
    }

    /// The same for routes that are served for every host.
    pub(crate) fn admit_for_any_host(&self) -> Result<(), Problem> {
        if self.body_bytes > u64::from(self.app.max_body_bytes) {
            return Err(Problem::TooLarge);
        }
        csrf::check(self.method(), self.headers(), &self.app.hosts)?;
        Ok(())
    }

    /// Waits until the key ring is read again, once for each request: one of its tokens names a key that is not held.
    ///
    /// # Errors
    /// [`Problem::KeyWaits`] at once, if too many requests wait.
    pub(crate) async fn reread_keys(&self) -> Result<(), Problem> {
        if !self.has_reread_keys() {
            self.app.ring_waits.run(self.client(), self.app.key_directory.reread()).await?;
            self.has_reread_keys.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns whether [`Self::reread_keys`] has waited. The handler of a hot route is called again then, and has counted and logged
    /// already what it does.
    pub(crate) fn has_reread_keys(&self) -> bool {
        self.has_reread_keys.load(Ordering::Relaxed)
    }

    /// Returns the id of a request that has one here, or that a trusted proxy gave it.
    pub(crate) fn any_id(&self) -> Option<RequestId> {
        self.id.clone().or_else(|| self.id_of_proxy())
    }

    fn id_of_proxy(&self) -> Option<RequestId> {
        self.is_from_proxy().then(|| RequestId::of_headers(self.headers())).flatten()
    }

    /// Returns the span for log lines about the request, which is none if the request has no id.
    pub(crate) fn span(&self) -> Span {
        let Some(id) = self.any_id() else {
            return Span::none();
        };
        let trace_id = self.is_from_proxy().then(|| trace_id(self.headers())).flatten();
        // At this level it is written wherever audit events are.
        tracing::error_span!(target: "sealjar::audit", "request", request_id = id.as_str(), trace_id)
    }
}
