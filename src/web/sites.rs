//! Rules for public origins, the domain of the session cookie, and cookies over plain HTTP.
//!
//! The settings of the server and of an embedding application follow the same rules. Each of the two writes its own
//! message for a [`BadSite`], with the names of its settings.

use crate::web::cookie::{AppName, Cookies};
use crate::web::hosts::Domain;
use crate::web::origin::Origin;

/// Origins, cookie domain and use of plain HTTP, which follow the rules. The list of origins may be empty.
#[derive(Debug, Clone)]
pub(crate) struct Sites {
    origins: Vec<Origin>,
    domain: Option<Domain>,
    plain_http: bool,
}

/// A rule that the settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadSite {
    /// A cookie domain in combination with cookies over plain HTTP.
    PlainHttpWithDomain,
    /// A text that is not an origin.
    NotAnOrigin(String),
    /// An http origin that is not on this machine. Browsers discard `Secure` cookies there.
    NotSecure(Origin),
    /// An http origin of a server that uses TLS itself.
    NotTls(Origin),
    /// An origin that is not on this machine. Cookies over plain HTTP are only for development on this machine.
    NotLoopback(Origin),
    /// An origin outside of the cookie domain, to which browsers would not send the cookie.
    NotInDomain(Origin),
}

impl Sites {
    /// Checks the rules.
    ///
    /// # Errors
    /// The first rule that the settings break.
    pub(crate) fn new(
        origins: &[String],
        domain: Option<Domain>,
        plain_http: bool,
        has_tls: bool,
    ) -> Result<Self, BadSite> {
        if domain.is_some() && plain_http {
            return Err(BadSite::PlainHttpWithDomain);
        }
        let parse = |text: &String| {
            let origin = Origin::parse(text).ok_or_else(|| BadSite::NotAnOrigin(text.clone()))?;
            if !origin.is_secure() && !origin.is_loopback() {
                Err(BadSite::NotSecure(origin))
            } else if has_tls && !origin.is_secure() {
                Err(BadSite::NotTls(origin))
            } else if plain_http && !origin.is_loopback() {
                Err(BadSite::NotLoopback(origin))
            } else if domain.as_ref().is_some_and(|domain| !domain.covers(origin.host())) {
                Err(BadSite::NotInDomain(origin))
            } else {
                Ok(origin)
            }
        };
        let origins = origins.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { origins, domain, plain_http })
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    pub(crate) const fn plain_http(&self) -> bool {
        self.plain_http
    }

    pub(crate) const fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// Returns the server's cookies.
    pub(crate) fn cookies(&self) -> Cookies {
        Cookies::new(self.domain.as_ref(), self.plain_http)
    }

    /// Returns the cookies of an embedding application.
    pub(crate) fn cookies_for_app(&self, name: &AppName) -> Cookies {
        Cookies::for_app(name, self.domain.as_ref(), self.plain_http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_the_first_rule_that_is_broken() {
        let check = |origin: &str, domain: Option<&str>, plain_http, has_tls| {
            let origins = ["https://a.example.com".to_owned(), origin.to_owned()];
            let origins = if plain_http { &origins[1..] } else { &origins };
            Sites::new(origins, domain.and_then(Domain::parse), plain_http, has_tls).map(drop)
        };
        let origin = |text: &str| Origin::parse(text).expect("an origin");
        let domain = Some("example.com");
        for (text, domain, plain_http, has_tls, error) in [
            ("https://b.example.com", domain, true, false, BadSite::PlainHttpWithDomain),
            ("b.example.com", None, false, false, BadSite::NotAnOrigin("b.example.com".to_owned())),
            ("http://b.example.com", None, false, true, BadSite::NotSecure(origin("http://b.example.com"))),
            ("http://localhost", None, false, true, BadSite::NotTls(origin("http://localhost"))),
            ("https://b.example.com", None, true, false, BadSite::NotLoopback(origin("https://b.example.com"))),
            ("https://example.org", domain, false, true, BadSite::NotInDomain(origin("https://example.org"))),
        ] {
            assert_eq!(check(text, domain, plain_http, has_tls), Err(error), "{text}");
        }
        for (text, domain, plain_http, has_tls) in [
            ("https://b.example.com", domain, false, true),
            ("http://localhost:8080", None, false, false),
            ("http://localhost:8080", None, true, false),
        ] {
            assert_eq!(check(text, domain, plain_http, has_tls), Ok(()), "{text}");
        }
    }
}
