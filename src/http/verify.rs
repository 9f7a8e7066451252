//! Forward authentication: the routes `/auth/verify` and below. A reverse proxy sends a *verify request* for each client request.
//! The response determines whether the proxy forwards the client request to the application, and contains the identity headers
//! of the user.
//!
//! There are three routes, because proxies use the response in different ways:
//!
//! - *Plain* (nginx, Apache): 200, 401 or 403, and never a redirect. A 401 has the URL of the login page in `Location`.
//! - *Redirect* (Caddy, HAProxy, Traefik): the same as *plain*, but a navigation that needs a login is redirected to the login
//!   page.
//! - *Envoy*: the same as *redirect*. Envoy sends no forwarded headers: the verify request has the client's method and host, and
//!   its path is a prefix with the rules, followed by the client's path.
//!
//! The rules are path segments after the path of the route. The segment `-` ends them: `/auth/verify/role=admin/-`. If there are
//! no such segments, the first two routes read the rules from the query.
//!
//! Every method is accepted. The handlers ignore the body and never wait.
//!
//! Called by `entrance.rs`. Uses `rules.rs`, `forwarded.rs`, `identity.rs` and `proxy_hints.rs`.

use std::borrow::Cow;

use salvo::http::Method;
use salvo::http::header::{HOST, HeaderMap};
use salvo::http::uri::Uri;

use crate::clock::Now;
use crate::http::context::Context;
use crate::http::forwarded::{Contradiction, Forwarded};
use crate::http::misspelt::MisspeltRuleCounter;
use crate::http::problem::Problem;
use crate::http::proxy_hints::{self, ForwardedRequest, shortened};
use crate::http::reply::Reply;
use crate::http::return_url::{self, ReturnUrl};
use crate::http::rules::{BadRule, Rules, Unmet};
use crate::http::{identity, renew};
use crate::log_sampler::sampled;
use crate::metrics::UNREADABLE_RULES;
use crate::session::Verified;
use crate::web::browser;
use crate::web::cookie::{CookieChange, renewal_window};
use crate::web::csrf;
use crate::web::hosts::Served;

/// Verify route. The type of the proxy determines which route it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerifyRoute {
    /// Route that never redirects.
    Plain,
    /// Route that redirects navigations without a sufficient session.
    Redirect,
    /// Route that redirects like [`Self::Redirect`]. In its path, the client's path follows the rules.
    Envoy,
}

impl VerifyRoute {
    /// Returns the verify route to which a path belongs, or `None` for a path of another route. `path` is the raw path of the
    /// request, without percent-decoding.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let below = path.strip_prefix(Self::Plain.path()).filter(|below| below.is_empty() || below.starts_with('/'))?;
        Some(if path == Self::Redirect.path() || below.starts_with("/redirect/") {
            Self::Redirect
        } else if below.starts_with("/envoy/") {
            Self::Envoy
        } else {
            Self::Plain
        })
    }

    /// Returns the path of the route, without rules.
    const fn path(self) -> &'static str {
        match self {
            Self::Plain => "/auth/verify",
            Self::Redirect => "/auth/verify/redirect",
            Self::Envoy => "/auth/verify/envoy",
        }
    }

    /// Reads the rules of a verify request. On the Envoy route, also returns the client's path and query, which follow the rules.
    ///
    /// The path of a route has one spelling. A path with another spelling is refused, because its rules would be ignored.
    fn read(self, uri: &Uri, misspelt: MisspeltRuleCounter) -> Result<(Rules<'_>, Option<&str>), BadRule> {
        let below = uri.path().strip_prefix(self.path()).ok_or(BadRule)?;
        let Some(segments) = below.strip_prefix('/') else {
            let has_query_rules = below.is_empty() && self != Self::Envoy;
            let mut rules =
                if has_query_rules { Rules::of_query(uri.query(), misspelt)? } else { return Err(BadRule) };
            rules.renew_by_redirect &= self == Self::Redirect;
            return Ok((rules, None));
        };
        let (rules, rest) = Rules::of_segments(segments)?;
        let target = match self {
            // Envoy appends the client's path. A query without such a path comes from the operator's configuration. It may
            // contain rules, which would be ignored.
            Self::Envoy if rest.is_empty() && uri.query().is_some() => return Err(BadRule),
            Self::Envoy => uri.path_and_query().map(|target| &target.as_str()[uri.path().len() - rest.len()..]),
            Self::Plain | Self::Redirect if rest.is_empty() => {
                misspelt.count_in_query(uri.query());
                None
            }
            Self::Plain | Self::Redirect => return Err(BadRule),
        };
        if rules.renew_by_redirect && self != Self::Redirect { Err(BadRule) } else { Ok((rules, target)) }
    }
}

/// Handles `/auth/verify` and the paths below it, with any method.
pub(super) fn plain(context: &Context) -> Result<Reply, Problem> {
    VerifyRequest::parse(context, VerifyRoute::Plain)?.respond(context)
}

/// Handles `/auth/verify/redirect` and the paths below it, with any method.
pub(super) fn redirect(context: &Context) -> Result<Reply, Problem> {
    VerifyRequest::parse(context, VerifyRoute::Redirect)?.respond(context)
}

/// Handles the paths below `/auth/verify/envoy/`, with any method.
pub(super) fn envoy(context: &Context) -> Result<Reply, Problem> {
    VerifyRequest::parse(context, VerifyRoute::Envoy)?.respond(context)
}

/// A verify request, and the client request that it describes.
struct VerifyRequest<'r> {
    route: VerifyRoute,
    rules: Rules<'r>,
    /// Host of the client request, and its site.
    served: Cow<'r, Served>,
    /// Method of the client request, or `None` if no trusted proxy sent it.
    method: Option<Method>,
    /// Path and query of the client request, or `None` if no trusted proxy sent them.
    target: Option<&'r str>,
}

/// Response other than 200 for a client request that has a live session.
enum Denial {
    /// An error, because the session does not meet the rules.
    Problem(Problem),
    /// A redirect of the browser to this URL.
    Redirect(String),
}

impl<'r> VerifyRequest<'r> {
    /// Reads the rules and the forwarded headers of a verify request. Forwarded headers are read only from a trusted proxy.
    fn parse(context: &'r Context, route: VerifyRoute) -> Result<Self, Problem> {
        let hosts = &context.app.hosts;
        let uri = context.uri();
        let headers = context.headers();
        // The host of the verify request itself. The client request may be for another host.
        let own_host = hosts.check_verify_authority(uri, headers).inspect_err(|_| {
            let host = uri.host().or_else(|| headers.get(HOST)?.to_str().ok()).map(shortened);
            sampled!(WARN, host, "verify request refused: its host is not served; list it in http.public_origins");
        })?;
        let misspelt = MisspeltRuleCounter::new(context.has_reread_keys());
        let (rules, target_after_rules) = route.read(uri, misspelt).inspect_err(|BadRule| {
            UNREADABLE_RULES.add(0);
            let path = shortened(uri.path());
            sampled!(WARN, path, "verify request refused: invalid rules; correct them in the proxy's configuration");
        })?;
        let forwarded = match (context.is_from_proxy(), target_after_rules) {
            (false, _) => {
                proxy_hints::log_untrusted_proxy(context);
                Forwarded::default()
            }
            (true, None) => Forwarded::read(headers)?,
            (true, Some(target)) => {
                Forwarded { method: Some(context.method().clone()), host: None, target: Some(target.as_bytes()) }
            }
        };
        if forwarded.method.is_none() && context.is_from_proxy() {
            proxy_hints::log_unknown_method(context);
        }
        let served = hosts.find_protected(forwarded.host.unwrap_or(own_host)).ok_or_else(|| {
            sampled!(
                WARN,
                believed = forwarded.host.is_some(),
                "verify request refused: the host of the client request is not served"
            );
            Problem::Forwarded(HOST_UNKNOWN)
        })?;
        let target = forwarded.target.and_then(|target| str::from_utf8(target).ok());
        Ok(Self { route, rules, served, method: forwarded.method, target })
    }

    /// Returns the response: 200 with all identity headers, or the reason for a refusal.
    fn respond(&self, context: &Context) -> Result<Reply, Problem> {
        let app = &context.app;
        if self.method == Some(Method::CONNECT) {
            return Err(Problem::Forwarded(CONNECT));
        }
        if self.rules.preflight && self.is_preflight(context) {
            return Ok(Reply::verify_allowed(app.prepared.verify_allowed()).for_preflight());
        }
        if self.rules.csrf {
            let method = self.method.as_ref().ok_or_else(|| {
                sampled!(WARN, "verify request refused: the rule csrf needs the method, and no trusted proxy sent it");
                Problem::Forwarded(METHOD_UNKNOWN)
            })?;
            csrf::check_for_app(method, context.headers(), &self.served.origin)
                .inspect_err(|_| proxy_hints::log_cross_site(context, self.forwarded_request()))?;
        }
        let is_navigation = self.route != VerifyRoute::Plain && context.is_navigation();
        let now = context.now();
        let window = renewal_window(self.method.as_ref());
        let outcome = context.verify(self.served.site, now, window, |session| {
            self.check(context, session, now, is_navigation)?;
            let mut headers = app.prepared.verify_allowed();
            identity::write(session.claims(), &mut headers);
            let renewed = if self.rules.renew_by_redirect { None } else { context.renew(session, window) };
            Ok(Reply::verify_allowed(headers).cookie(renewed.map_or(CookieChange::Keep, CookieChange::Set)))
        });
        let problem = match outcome {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(Denial::Redirect(location))) => return Ok(Reply::found(&location)),
            Ok(Err(Denial::Problem(problem))) => problem,
            Err(refusal) => Problem::Session(refusal),
        };
        // Selects the page on which the user can solve the problem. Other problems have no such page.
        let page = match problem {
            Problem::StepUp => "/auth/reauthenticate",
            _ if problem.needs_login() => "/auth/login",
            _ => return Err(problem),
        };
        let location = self.page_url(context, page);
        Ok(match self.method {
            _ if !is_navigation => Reply::from(problem).location(&location),
            None | Some(Method::GET | Method::HEAD) => Reply::found(&location).with_problem(problem),
            Some(_) => Reply::see_other(&location).with_problem(problem),
        })
    }

    /// Returns the facts of the client request that log lines contain.
    fn forwarded_request(&self) -> ForwardedRequest<'_> {
        ForwardedRequest { host: &self.served.origin, method: self.method.as_ref(), target: self.target }
    }

    /// Returns whether the client request is a [CORS preflight](https://fetch.spec.whatwg.org/#cors-preflight-request). If no
    /// trusted proxy sent the method, returns `false`, and logs this if the request may be a preflight.
    fn is_preflight(&self, context: &Context) -> bool {
        let may_be_preflight = self.method.is_none() && csrf::is_preflight(&Method::OPTIONS, context.headers());
        if may_be_preflight && !context.has_reread_keys() {
            sampled!(WARN, "rule preflight not applied: no trusted proxy sent the method");
        }
        self.method.as_ref().is_some_and(|method| csrf::is_preflight(method, context.headers()))
    }

    /// Checks that a live session meets the rules.
    ///
    /// The rule `renew=redirect` renews the session by a redirect to `/auth/renew` and back, for proxies that drop the
    /// `Set-Cookie` of the verify response. The URL to which `/auth/renew` redirects has a marker. So a browser that did not
    /// store the new cookie is redirected only once.
    fn check(&self, context: &Context, session: &Verified<'_>, now: Now, is_navigation: bool) -> Result<(), Denial> {
        let claims = session.claims();
        let origin = &self.served.origin;
        let now = context.app.sessions.revocations().time(now);
        self.rules.check(claims, now).map_err(|unmet| {
            Denial::Problem(match unmet {
                Unmet::Role => {
                    proxy_hints::log_missing_role(context, self.forwarded_request(), claims.identity.sub);
                    Problem::Role
                }
                Unmet::Age => Problem::StepUp,
            })
        })?;
        let may_redirect = self.route == VerifyRoute::Redirect && self.rules.renew_by_redirect && is_navigation;
        let (true, Some(&Method::GET), Some(target)) = (may_redirect, self.method.as_ref(), self.target) else {
            return Ok(());
        };
        let without_marker = renew::without_marker(target);
        let is_due = session.deadlines().is_past_half_of_idle_timeout(claims.sealed_at, now);
        match without_marker.as_deref().map(|target| ReturnUrl::on_host(target, origin)) {
            None if is_due && ReturnUrl::on_host(target, origin).is_some() => {
                Err(Denial::Redirect(self.page_url(context, "/auth/renew")))
            }
            // The browser comes back with the new cookie. The redirect removes the marker from the address bar.
            Some(Some(target)) if !is_due => Err(Denial::Redirect(format!("{origin}{target}"))),
            // The browser comes back without the new cookie. Another redirect would not help.
            _ => Ok(()),
        }
    }

    /// Returns the URL of a page of this server, with the return URL in `rd`. The page is on the host of the client request. If
    /// that host is not in `http.public_origins` but below the cookie domain, the page is on the first host in the setting.
    fn page_url(&self, context: &Context, page: &str) -> String {
        let origin = &self.served.origin;
        let target = self.return_target(context.headers());
        match (&self.served, context.app.hosts.first()) {
            (Cow::Owned(_), Some(first)) => {
                // If there is no return URL, the page redirects to `pages.home`. If `pages.home` is a path, the redirect must
                // lead to this path on the client's host, not on the first host.
                let target = target.or_else(|| context.app.pages.home.on_any_host());
                let target = target.map(|path| format!("{origin}{path}"));
                ReturnUrl::at_page(&format!("{first}{page}"), target.as_deref())
            }
            _ => ReturnUrl::at_page(&format!("{origin}{page}"), target.as_ref().map(ReturnUrl::as_str)),
        }
    }

    /// Returns the path and query to which the browser returns, or `None` if they are unknown or cannot be a return URL.
    ///
    /// A browser returns with a GET. After a request with another method, such as a submitted form, it returns to the page that
    /// sent the request. It does not return to the URL of the request: the application may have no page there, or a page that
    /// does not tell the user that the input was lost.
    fn return_target(&self, headers: &HeaderMap) -> Option<ReturnUrl> {
        let path = match self.method {
            None | Some(Method::GET | Method::HEAD) => self.target?,
            Some(_) => self.referring_page(headers)?,
        };
        ReturnUrl::on_host(&renew::without_marker(path).unwrap_or_else(|| path.to_owned()), &self.served.origin)
    }

    /// Returns the path and query of the page that sent the request, if the page has the same origin. Pages of this server are
    /// excluded, because they redirect the user again.
    fn referring_page<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let path = browser::referer(headers, &self.served.origin)?;
        (!return_url::is_own_page(path)).then_some(path)
    }
}

impl From<BadRule> for Problem {
    fn from(BadRule: BadRule) -> Self {
        Self::Rule
    }
}

impl From<Contradiction> for Problem {
    fn from(Contradiction(what): Contradiction) -> Self {
        sampled!(WARN, what, "verify request refused: forwarded headers of a trusted proxy contradict each other");
        Self::Forwarded(
            "the proxy's forwarded headers contradict each other; the operator must configure the proxy to remove the headers that it does not set",
        )
    }
}

const HOST_UNKNOWN: &str = "the host of the request is unknown or not served; the operator must list the proxy in http.trusted_proxies, configure it to send X-Forwarded-Host, and list the host in http.public_origins";
const METHOD_UNKNOWN: &str = "this route refuses cross-site requests, but the method of the request is unknown; the operator must list the proxy in http.trusted_proxies and configure it to send X-Forwarded-Method";
/// Detail for a CONNECT request. Some proxies, such as Caddy over HTTP/2, forward the bytes after a CONNECT unchanged. Requests
/// in these bytes would reach the application without a verify request.
const CONNECT: &str = "CONNECT is always refused, because the proxy does not verify the requests that follow it; the operator must configure the proxy to refuse CONNECT";
