//! `/auth/verify`: a reverse proxy asks whether a request may pass to the app behind it, and who sent it.
//!
//! Three shapes, because proxies differ in what they can do with the answer. *Plain* (nginx, Apache): 200, 401 or 403 and never
//! a redirect; a 401 says in `Location` where to sign in. *Redirect* (Caddy, HAProxy, Traefik): a navigation that needs a sign-in
//! is answered with the redirect itself. *Envoy*: the same, but the original request's method, host and path are those of the
//! request itself, behind a prefix that carries the rules.
//!
//! Rules are the segments of the path behind the shape's own, ended by `/-` (`/auth/verify/role=admin/-`). Without such segments the
//! first two shapes read them from the query.
//!
//! No body is looked at, any method will do, and nothing on the way waits.

use std::borrow::Cow;

use salvo::http::Method;
use salvo::http::header::{HOST, HeaderMap};
use salvo::http::uri::Uri;

use crate::clock::Now;
use crate::http::context::Context;
use crate::http::forwarded::{Contradiction, Forwarded};
use crate::http::misspelt::Misspelt;
use crate::http::problem::Problem;
use crate::http::proxy_hints::{self, Visit, shortened};
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

/// What the proxy can do with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    Redirect,
    Envoy,
}

impl Shape {
    /// Returns the shape that is asked for at this path, as it was sent.
    pub(super) fn at(path: &str) -> Option<Self> {
        let below = path.strip_prefix(Self::Plain.path()).filter(|below| below.is_empty() || below.starts_with('/'))?;
        Some(if path == Self::Redirect.path() || below.starts_with("/redirect/") {
            Self::Redirect
        } else if below.starts_with("/envoy/") {
            Self::Envoy
        } else {
            Self::Plain
        })
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Plain => "/auth/verify",
            Self::Redirect => "/auth/verify/redirect",
            Self::Envoy => "/auth/verify/envoy",
        }
    }

    /// Reads the rules of the question; and in Envoy's shape the visitor's path and query, which follow them.
    ///
    /// Each shape's path has one spelling, as all routes have. Others are refused, since what they hold of rules would be lost.
    fn read(self, uri: &Uri, misspelt: Misspelt) -> Result<(Rules<'_>, Option<&str>), BadRule> {
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
            // Envoy appends a path, so a query before it is the operator's: rules that would be lost.
            Self::Envoy if rest.is_empty() && uri.query().is_some() => return Err(BadRule),
            Self::Envoy => uri.path_and_query().map(|whole| &whole.as_str()[uri.path().len() - rest.len()..]),
            Self::Plain | Self::Redirect if rest.is_empty() => {
                misspelt.look_at_all(uri.query());
                None
            }
            Self::Plain | Self::Redirect => return Err(BadRule),
        };
        if rules.renew_by_redirect && self != Self::Redirect { Err(BadRule) } else { Ok((rules, target)) }
    }
}

/// Any method on `/auth/verify` and below.
pub(super) fn plain(context: &Context) -> Result<Reply, Problem> {
    Asked::of(context, Shape::Plain)?.answer(context)
}

/// Any method on `/auth/verify/redirect` and below.
pub(super) fn redirect(context: &Context) -> Result<Reply, Problem> {
    Asked::of(context, Shape::Redirect)?.answer(context)
}

/// Any method below `/auth/verify/envoy/`.
pub(super) fn envoy(context: &Context) -> Result<Reply, Problem> {
    Asked::of(context, Shape::Envoy)?.answer(context)
}

/// A request that a proxy asks about. What only a trusted proxy can say is `None` from any other.
struct Asked<'r> {
    shape: Shape,
    rules: Rules<'r>,
    /// The host that the visitor asked for.
    served: Cow<'r, Served>,
    method: Option<Method>,
    /// Path and query.
    target: Option<&'r str>,
}

/// Why a live session does not pass.
enum Stop {
    Problem(Problem),
    /// The browser is to go there first.
    Detour(String),
}

impl<'r> Asked<'r> {
    fn of(context: &'r Context, shape: Shape) -> Result<Self, Problem> {
        let hosts = &context.app.hosts;
        let uri = context.uri();
        let headers = context.headers();
        let own_host = hosts.of_verify_request(uri, headers).inspect_err(|_| {
            let host = uri.host().or_else(|| headers.get(HOST)?.to_str().ok()).map(shortened);
            sampled!(WARN, host, "a proxy asked under a host that is not listed; nobody is let in");
        })?;
        let misspelt = Misspelt::new(context.has_reread_keys());
        let (rules, own_target) = shape.read(uri, misspelt).inspect_err(|BadRule| {
            UNREADABLE_RULES.add(0);
            let path = shortened(uri.path());
            sampled!(WARN, path, "the rules in a proxy's question cannot be read; nobody is let in");
        })?;
        let forwarded = match (context.is_from_proxy(), own_target) {
            (false, _) => {
                proxy_hints::note_untrusted(context);
                Forwarded::default()
            }
            (true, None) => Forwarded::read(headers)?,
            (true, Some(target)) => {
                Forwarded { method: Some(context.method().clone()), host: None, target: Some(target.as_bytes()) }
            }
        };
        if forwarded.method.is_none() && context.is_from_proxy() {
            proxy_hints::note_unknown_method(context);
        }
        let served = hosts.protected(forwarded.host.unwrap_or(own_host)).ok_or_else(|| {
            sampled!(WARN, believed = forwarded.host.is_some(), "a proxy asked about a host that is not served");
            Problem::Forwarded(HOST_UNKNOWN)
        })?;
        let target = forwarded.target.and_then(|target| str::from_utf8(target).ok());
        Ok(Self { shape, rules, served, method: forwarded.method, target })
    }

    /// 200 with all identity fields, or what stands in the way.
    fn answer(&self, context: &Context) -> Result<Reply, Problem> {
        let app = &context.app;
        if self.method == Some(Method::CONNECT) {
            return Err(Problem::Forwarded(CONNECT));
        }
        if self.rules.preflight && self.is_preflight(context) {
            return Ok(Reply::passed(app.prepared.passed()).of_preflight());
        }
        if self.rules.csrf {
            let method = self.method.as_ref().ok_or_else(|| {
                sampled!(WARN, "a route asks for csrf, but no trusted proxy said what the method is");
                Problem::Forwarded(METHOD_UNKNOWN)
            })?;
            csrf::check_for_app(method, context.headers(), &self.served.origin)
                .inspect_err(|_| proxy_hints::note_cross_site(context, self.visit()))?;
        }
        let navigates = self.shape != Shape::Plain && context.is_navigation();
        let now = context.now();
        let window = renewal_window(self.method.as_ref());
        let passed = context.verify(self.served.site, now, window, |session| {
            self.check(context, session, now, navigates)?;
            let mut headers = app.prepared.passed();
            identity::write(session.claims(), &mut headers);
            let in_place = if self.rules.renew_by_redirect { None } else { context.renewed(session, window) };
            Ok(Reply::passed(headers).cookie(in_place.map_or(CookieChange::Keep, CookieChange::Set)))
        });
        let problem = match passed {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(Stop::Detour(location))) => return Ok(Reply::found(&location)),
            Ok(Err(Stop::Problem(problem))) => problem,
            Err(refusal) => Problem::Session(refusal),
        };
        let page = match problem {
            Problem::StepUp => "/auth/reauthenticate",
            _ if problem.is_cured_by_sign_in() => "/auth/login",
            _ => return Err(problem),
        };
        let location = self.by_way_of(context, page);
        Ok(match self.method {
            _ if !navigates => Reply::from(problem).location(&location),
            None | Some(Method::GET | Method::HEAD) => Reply::found(&location).because(problem),
            Some(_) => Reply::see_other(&location).because(problem),
        })
    }

    fn visit(&self) -> Visit<'_> {
        Visit { host: &self.served.origin, method: self.method.as_ref(), target: self.target }
    }

    /// Whether the visitor's request is a CORS preflight, as far as is known.
    fn is_preflight(&self, context: &Context) -> bool {
        let is_unsaid = self.method.is_none() && csrf::is_preflight(&Method::OPTIONS, context.headers());
        if is_unsaid && !context.has_reread_keys() {
            sampled!(WARN, "a route lets preflights pass, but no trusted proxy said what the method is");
        }
        self.method.as_ref().is_some_and(|method| csrf::is_preflight(method, context.headers()))
    }

    /// Holds a live session against the route's rules, and sends the browser round by the renewal if that is asked for and due.
    fn check(&self, context: &Context, session: &Verified<'_>, now: Now, navigates: bool) -> Result<(), Stop> {
        let claims = session.claims();
        let own = &self.served.origin;
        let now = context.app.sessions.revocations().time(now);
        self.rules.check(claims, now).map_err(|unmet| {
            Stop::Problem(match unmet {
                Unmet::Role => {
                    proxy_hints::note_missing_role(context, self.visit(), claims.identity.sub);
                    Problem::Role
                }
                Unmet::Age => Problem::StepUp,
            })
        })?;
        let renews = self.shape == Shape::Redirect && self.rules.renew_by_redirect && navigates;
        let (true, Some(&Method::GET), Some(target)) = (renews, self.method.as_ref(), self.target) else {
            return Ok(());
        };
        let clean = renew::unmarked(target);
        let due = session.deadlines().is_half_spent(claims.sealed_at, now);
        match clean.as_deref().map(|clean| ReturnUrl::on_host(clean, own)) {
            None if due && ReturnUrl::on_host(target, own).is_some() => {
                Err(Stop::Detour(self.by_way_of(context, "/auth/renew")))
            }
            // It arrived, and the cookie with it.
            Some(Some(clean)) if !due => Err(Stop::Detour(format!("{own}{clean}"))),
            // It arrived without the cookie: once is enough.
            _ => Ok(()),
        }
    }

    /// The address of a page of ours that leads back, or home: on the same host, or on the first of ours for a host that is only
    /// known to be below the cookie's domain.
    fn by_way_of(&self, context: &Context, page: &str) -> String {
        let own = &self.served.origin;
        let back = self.way_back(context.headers());
        match (&self.served, context.app.hosts.first()) {
            (Cow::Owned(_), Some(first)) => {
                // Without a return URL, a home that is a path would be that path of the first host.
                let back = back.or_else(|| context.app.pages.home.on_any_host());
                let back = back.map(|path| format!("{own}{path}"));
                ReturnUrl::at_page(&format!("{first}{page}"), back.as_deref())
            }
            _ => ReturnUrl::at_page(&format!("{own}{page}"), back.as_ref().map(ReturnUrl::as_str)),
        }
    }

    /// The path to come back to, with its query; `None` if it is not known or cannot be a return URL.
    ///
    /// A browser can only come back with a GET. So a request with another method, such as a form that was sent, leads back to the page
    /// that it came from, and not to its own address: there the application may have no page, or one that says nothing of the lost input.
    fn way_back(&self, headers: &HeaderMap) -> Option<ReturnUrl> {
        let path = match self.method {
            None | Some(Method::GET | Method::HEAD) => self.target?,
            Some(_) => self.sending_page(headers)?,
        };
        ReturnUrl::on_host(&renew::unmarked(path).unwrap_or_else(|| path.to_owned()), &self.served.origin)
    }

    /// The path of the page that sent the request, with its query: of a page of the same origin, and not one of ours, from which
    /// the visitor would be led on again.
    fn sending_page<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let path = browser::referer(headers, &self.served.origin)?;
        (!return_url::is_ours(path)).then_some(path)
    }
}

impl From<BadRule> for Problem {
    fn from(BadRule: BadRule) -> Self {
        Self::Rule
    }
}

impl From<Contradiction> for Problem {
    fn from(Contradiction(what): Contradiction) -> Self {
        sampled!(WARN, what, "the forwarded fields of a trusted proxy contradict each other");
        Self::Forwarded(
            "the proxy's forwarded fields contradict each other; the operator lets the proxy overwrite those that it does not set",
        )
    }
}

const HOST_UNKNOWN: &str = "which host was asked for is not known, or it is not served; the operator lists the proxy in http.trusted_proxies, lets it send X-Forwarded-Host, and lists the host in http.public_origins";
const METHOD_UNKNOWN: &str = "this route refuses requests of other sites, and the method is not known; the operator lists the proxy in http.trusted_proxies and lets it send X-Forwarded-Method";
/// A proxy that sends on what follows a CONNECT as it comes, as Caddy does over HTTP/2, would not ask about requests in there.
const CONNECT: &str = "a CONNECT passes with no session: what follows it could be requests that the proxy does not ask about; the operator lets the proxy refuse it";
