//! Return URLs: where a browser goes after sign-in, chosen by whoever made the link, so believed only when it stays here.
//!
//! A return URL is a path on the same host. With a cookie domain it may also be an absolute URL of a host below it. Refused is
//! whatever browsers, proxies or apps might read as another host or as a second header field.
//!
//! | refused | because |
//! |---|---|
//! | another host | the link would lead from this site's sign-in page to a copy of the site |
//! | `//`, `/\`, `/%2F` or `/%5C` at the start | browsers, or proxies that decode, read what follows as a host |
//! | a raw backslash in the path | browsers read it as a slash; they never send one there |
//! | dot segments | after `/..` or `/.` is removed, `//` may be the start |
//! | encoded control characters in the path | proxies decode a path and may write it into a field: `%0D%0A` would begin another one |
//! | whatever is not visible ASCII | it cannot stand in a field, and browsers remove tabs and line breaks from a URL |
//!
//! The query and the fragment may have every character that browsers leave as it is there ([URL standard, percent-encode
//! sets](https://url.spec.whatwg.org/#percent-encoded-bytes)): no parser looks for a host in them.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::web::hosts::Hosts;
use crate::web::origin::Origin;
use crate::web::return_path::{before_query, is_path, is_short};

/// A checked return URL: visible ASCII, fit for a `Location` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnUrl(String);

impl ReturnUrl {
    /// The page of the session.
    pub(crate) const SESSION: &str = "/auth/status";

    /// Parses the operator's choice of the page to go to if no return URL was given: a path, or the URL of any page over HTTPS, or
    /// over plain HTTP on this machine. A page of ours other than that of the session leads nowhere.
    pub(crate) fn home(text: &str) -> Option<Self> {
        let path = if text.starts_with('/') {
            text
        } else {
            let authority = text.find("://")? + 3;
            let (origin, path) = text.split_at(authority + text[authority..].find('/')?);
            Origin::parse(origin).filter(|origin| origin.is_secure() || origin.is_loopback())?;
            path
        };
        let leads_on = !is_ours(path) || before_query(path) == Self::SESSION;
        (is_path(path) && leads_on).then(|| Self(text.to_owned()))
    }

    /// A page of ours.
    pub(crate) fn own(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// The one in a query, as `rd`. `own` is the origin of the request.
    pub(crate) fn of_query(query: Option<&str>, own: &Origin, hosts: &Hosts) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find_map(|(name, value)| (name == "rd").then(|| Self::parse(&value, own, hosts))).flatten()
    }

    /// Parses the return URL of a request to the origin `own`.
    pub(crate) fn parse(text: &str, own: &Origin, hosts: &Hosts) -> Option<Self> {
        Self::on_host(text, own).or_else(|| {
            let path = path_below_the_domain(text, hosts)?;
            (is_path(path) && is_short(text)).then(|| Self(text.to_owned()))
        })
    }

    /// Parses a return URL on the host of the origin `own`: a path, or an absolute URL, of which the path, query and fragment are kept.
    pub(crate) fn on_host(text: &str, own: &Origin) -> Option<Self> {
        let path = if text.starts_with('/') { Cow::Borrowed(text) } else { path_on_host(text, own)? };
        (is_path(&path) && is_short(&path)).then(|| Self(path.into_owned()))
    }

    /// Returns the path that this is on whatever host, and `None` if it names a host or is a page of ours.
    pub(crate) fn on_any_host(&self) -> Option<Self> {
        (self.0.starts_with('/') && !is_ours(&self.0)).then(|| self.clone())
    }

    /// The address of a page that leads back to `url` in the end, or home.
    pub(crate) fn at_page(page: &str, url: Option<&str>) -> String {
        let Some(url) = url else {
            return page.to_owned();
        };
        let rd: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
        format!("{page}?rd={rd}")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReturnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of an absolute URL, if the cookie's domain covers its host.
fn path_below_the_domain<'t>(text: &'t str, hosts: &Hosts) -> Option<&'t str> {
    hosts.domain()?;
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let origin = &hosts.protected(authority.as_bytes())?.origin;
    origin.to_string().starts_with(&format!("{scheme}://")).then_some(path)
}

/// The path of an absolute URL, if its host and port are those of `own`. The scheme may be either: a proxy behind another one that
/// ends TLS takes its requests for plain HTTP. The result names no host, so it cannot lead away.
fn path_on_host<'t>(text: &'t str, own: &Origin) -> Option<Cow<'t, str>> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    own.is_named_by(authority.as_bytes()).then_some(path)
}

/// Returns whether this is a path of ours, whether or not there is a page.
pub(super) fn is_ours(path: &str) -> bool {
    let page = before_query(path);
    page == "/auth" || page.starts_with("/auth/")
}
