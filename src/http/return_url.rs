//! Return URLs: the page to which a browser returns after a login. Any client can create a link with any return URL. So a return
//! URL is used only if it stays on this site. Otherwise it would be an [open
//! redirect](https://cwe.mitre.org/data/definitions/601.html).
//!
//! A return URL is a path on the same host. With a cookie domain, it may also be an absolute URL of a host below that domain. A
//! URL is refused if a browser, a proxy or an application could read it as another host or as a second header field.
//!
//! | refused | reason |
//! |---|---|
//! | another host | a link could lead from this site's login page to another host with a copy of the site |
//! | `//`, `/\`, `/%2F` or `/%5C` at the start | browsers, or proxies that decode the path, read the following text as a host |
//! | a raw backslash in the path | browsers read it as a slash, and never send it in a path |
//! | dot segments | after `/..` or `/.` is removed, the path may begin with `//` |
//! | encoded control characters in the path | proxies decode a path and may write it into a header field: `%0D%0A` would begin another field |
//! | characters that are not visible ASCII | they are not allowed in a header field, and browsers remove tabs and line breaks from a URL |
//!
//! The query and the fragment may contain every character that browsers do not encode there ([URL standard, percent-encode
//! sets](https://url.spec.whatwg.org/#percent-encoded-bytes)), because no parser searches them for a host.
//!
//! The tables in `return_url/tests.rs` list accepted and refused URLs.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::web::hosts::Hosts;
use crate::web::origin::Origin;
use crate::web::return_path::{before_query, is_path, is_short};

/// A checked return URL. It is visible ASCII, so it is valid in a `Location` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnUrl(String);

impl ReturnUrl {
    /// Path of the session page.
    pub(crate) const SESSION: &str = "/auth/status";

    /// Parses the setting `pages.home`, the page after a login without a return URL. It is a path, an HTTPS URL, or a plain HTTP
    /// URL on this machine. Of the pages of this server, only the session page is allowed.
    pub(crate) fn home(text: &str) -> Option<Self> {
        let path = if text.starts_with('/') {
            text
        } else {
            let authority = text.find("://")? + 3;
            let (origin, path) = text.split_at(authority + text[authority..].find('/')?);
            Origin::parse(origin).filter(|origin| origin.is_secure() || origin.is_loopback())?;
            path
        };
        let is_allowed_page = !is_own_page(path) || before_query(path) == Self::SESSION;
        (is_path(path) && is_allowed_page).then(|| Self(text.to_owned()))
    }

    /// Returns the URL of a page of this server.
    pub(crate) fn own_page(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// Parses the return URL in the parameter `rd` of a query. `own_origin` is the origin of the request.
    pub(crate) fn of_query(query: Option<&str>, own_origin: &Origin, hosts: &Hosts) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find_map(|(name, value)| (name == "rd").then(|| Self::parse(&value, own_origin, hosts))).flatten()
    }

    /// Parses the return URL of a request to the origin `own_origin`.
    pub(crate) fn parse(text: &str, own_origin: &Origin, hosts: &Hosts) -> Option<Self> {
        Self::on_host(text, own_origin).or_else(|| {
            let path = path_below_the_domain(text, hosts)?;
            (is_path(path) && is_short(text)).then(|| Self(text.to_owned()))
        })
    }

    /// Parses a return URL on the host of the origin `own_origin`: a path, or an absolute URL. Only the path,
    /// query and fragment of an absolute URL are kept.
    pub(crate) fn on_host(text: &str, own_origin: &Origin) -> Option<Self> {
        let path = if text.starts_with('/') { Cow::Borrowed(text) } else { path_on_host(text, own_origin)? };
        (is_path(&path) && is_short(&path)).then(|| Self(path.into_owned()))
    }

    /// Returns the path if this URL is a path that is valid on any host. Returns `None` if it names a host or is a page of this
    /// server.
    pub(crate) fn on_any_host(&self) -> Option<Self> {
        (self.0.starts_with('/') && !is_own_page(&self.0)).then(|| self.clone())
    }

    /// Returns the URL of a page with a return URL in its query. Without a return URL, the page leads to `pages.home`.
    pub(crate) fn at_page(page: &str, return_url: Option<&str>) -> String {
        let Some(return_url) = return_url else {
            return page.to_owned();
        };
        let rd: String = form_urlencoded::byte_serialize(return_url.as_bytes()).collect();
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

/// Returns the path of an absolute URL if its host is below the cookie domain.
fn path_below_the_domain<'t>(text: &'t str, hosts: &Hosts) -> Option<&'t str> {
    hosts.domain()?;
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let origin = &hosts.find_protected(authority.as_bytes())?.origin;
    origin.to_string().starts_with(&format!("{scheme}://")).then_some(path)
}

/// Returns the path of an absolute URL if its host and port are the same as in `own_origin`. The scheme may be `http` or `https`: a
/// proxy behind another proxy that terminates TLS may send `http`. The result contains no host, so it cannot lead to another
/// host.
fn path_on_host<'t>(text: &'t str, own_origin: &Origin) -> Option<Cow<'t, str>> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    own_origin.is_named_by(authority.as_bytes()).then_some(path)
}

/// Returns whether a path belongs to this server: `/auth` or below. A page at this path is not required to exist.
pub(super) fn is_own_page(path: &str) -> bool {
    let page = before_query(path);
    page == "/auth" || page.starts_with("/auth/")
}
