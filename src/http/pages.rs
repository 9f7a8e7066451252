//! HTML pages for users, rendered from the templates in `pages/`.
//!
//! Invariants: no page has a script, and the template engine escapes every value. The texts come from a catalogue
//! (`pages/texts.rs`) and from the operator's settings. Called by the handlers and by `problem.rs`.

pub(crate) mod assets;
mod english;
mod instant;
pub(crate) mod language;
pub(crate) mod texts;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use askama::Template;
use salvo::http::header::HeaderValue;

use crate::http::return_url::ReturnUrl;
use crate::web::hosts::Hosts;
use assets::{Asset, ICON, LogoError, STYLE};
pub(crate) use instant::Instant;
use language::Language;
use texts::Texts;

/// Settings of the pages.
#[derive(Debug, Clone)]
pub(crate) struct PageSettings {
    /// Page after a login without a return URL.
    pub(crate) home: ReturnUrl,
    /// Name of the service. Without it, pages show the host.
    pub(crate) title: Option<String>,
    /// Image file for every page.
    pub(crate) logo: Option<PathBuf>,
    pub(crate) language: Language,
}

/// State that all pages of a server share.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) home: ReturnUrl,
    title: Option<String>,
    pub(crate) logo: Option<Arc<Asset>>,
    pub(crate) texts: &'static Texts,
    /// Whether every page warns that cookies are sent unencrypted.
    plain_http: bool,
}

impl Pages {
    /// Reads the logo, if there is one.
    pub(crate) fn open(settings: &PageSettings, plain_http: bool) -> Result<Self, LogoError> {
        let logo = settings.logo.as_deref().map(Asset::read_logo).transpose()?;
        let PageSettings { home, title, language, .. } = settings.clone();
        Ok(Self { home, title, logo: logo.map(Arc::new), texts: language.texts(), plain_http })
    }

    /// Returns a copy with other settings. The logo stays the same, because it is read only at the start.
    pub(crate) fn with_settings(&self, settings: &PageSettings) -> Self {
        let PageSettings { home, title, language, .. } = settings.clone();
        Self { home, title, texts: language.texts(), ..self.clone() }
    }

    /// Returns the target of the link to the home page, or `None` if the home page is the session page.
    pub(crate) fn home_link(&self) -> Option<&str> {
        Some(self.home.as_str()).filter(|home| *home != ReturnUrl::SESSION)
    }

    /// Returns the shell of a page with this heading.
    pub(crate) fn shell<'a>(&'a self, host: Cow<'a, str>, heading: &'static str) -> Shell<'a> {
        let logo = self.logo.as_deref().map(Asset::href);
        Shell {
            style: STYLE.href(),
            icon: logo.unwrap_or_else(|| ICON.href()),
            logo,
            title: self.title.as_deref(),
            host,
            heading,
            is_error: false,
            plain_http: self.plain_http,
            texts: self.texts,
        }
    }
}

/// The parts that all pages share, around the content of a page (`base.html`).
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    style: &'a str,
    icon: &'a str,
    logo: Option<&'a str>,
    title: Option<&'a str>,
    /// Host of the request, or empty if it is unknown.
    host: Cow<'a, str>,
    heading: &'static str,
    is_error: bool,
    plain_http: bool,
    texts: &'static Texts,
}

impl Shell<'_> {
    /// Sets whether the page shows an error. The title of such a page begins with "Error".
    pub(crate) fn of_error(self, is_error: bool) -> Self {
        Self { is_error, ..self }
    }

    /// Returns the name of the service.
    fn name(&self) -> &str {
        self.title.unwrap_or(&self.host)
    }
}

/// Returns the Content-Security-Policy of every page ([CSP level 3](https://www.w3.org/TR/CSP3/)): no scripts, no inline
/// styles, and no content from other origins.
///
/// Browsers apply `form-action` to the form and to every redirect after it. After a login, these are redirects of the
/// application, and may lead to any origin. So `form-action` allows schemes: `https:`, and `http:` if one of
/// `http.public_origins` has it.
pub(crate) fn policy(hosts: &Hosts) -> HeaderValue {
    let has_plain_http = hosts.origins().any(|origin| !origin.is_secure());
    HeaderValue::from_static(if has_plain_http {
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https: http:; frame-ancestors 'none'; base-uri 'none'"
    } else {
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'"
    })
}

/// Returns the HTML of a page.
pub(super) fn render(page: &impl Template) -> String {
    page.render().expect("writing to memory cannot fail, and the templates call no other function that can fail")
}

/// Value of a page's `Content-Type` field.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Page of `GET /auth/login`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage<'a> {
    pub(crate) shell: Shell<'a>,
    pub(crate) csrf_token: &'a str,
    pub(crate) rd: &'a str,
    pub(crate) login: &'a str,
    pub(crate) remember: bool,
    pub(crate) signed_in_as: Option<String>,
    pub(crate) notice: Option<&'a str>,
    pub(crate) login_error: Option<&'a str>,
    pub(crate) password_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// Page of `GET /auth/status` for a navigation.
#[derive(Debug, Template)]
#[template(path = "session.html")]
pub(crate) struct SessionPage<'a> {
    pub(crate) shell: Shell<'a>,
    pub(crate) csrf_token: &'a str,
    pub(crate) home: Option<&'a str>,
    pub(crate) login_name: &'a str,
    pub(crate) display_name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) roles: Vec<&'a str>,
    /// Times of the session, each with its label.
    pub(crate) instants: [(&'static str, Instant); 3],
    pub(crate) remembered: bool,
    pub(crate) notice: Option<&'static str>,
}

/// Page of `GET /auth/password`.
#[derive(Debug, Template)]
#[template(path = "password.html")]
pub(crate) struct PasswordPage<'a> {
    pub(crate) shell: Shell<'a>,
    pub(crate) csrf_token: &'a str,
    pub(crate) login_name: &'a str,
    /// Hidden fields of a forced change, or `None` if there is a session.
    pub(crate) forced: Option<ForcedChange<'a>>,
    pub(crate) old_error: Option<&'a str>,
    pub(crate) new_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// Hidden fields of the form of a forced change: a change of the password that is required before the first session.
#[derive(Debug)]
pub(crate) struct ForcedChange<'a> {
    pub(crate) rd: &'a str,
    pub(crate) remember: bool,
}

/// Page of `GET /auth/reauthenticate`.
#[derive(Debug, Template)]
#[template(path = "reauthenticate.html")]
pub(crate) struct ReauthenticatePage<'a> {
    pub(crate) shell: Shell<'a>,
    pub(crate) csrf_token: &'a str,
    pub(crate) login_name: &'a str,
    pub(crate) rd: &'a str,
    pub(crate) password_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// The page of an error.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage<'a> {
    pub(crate) shell: Shell<'a>,
    pub(crate) status: u16,
    pub(crate) detail: &'a str,
    /// Message to the operator, in English.
    pub(crate) operator: Option<&'a str>,
    pub(crate) link: Option<Link<'a>>,
}

/// A link to the next page.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    pub(crate) href: Cow<'a, str>,
    pub(crate) label: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_texts_of_operators_and_clients() {
        let settings = PageSettings {
            home: ReturnUrl::home("/").expect("a path"),
            title: Some("\"T'&".to_owned()),
            logo: None,
            language: Language::English,
        };
        let pages = Pages::open(&settings, true).expect("no logo to read");
        let shell = pages.shell("<b>".into(), "heading");
        let html = render(&ErrorPage { shell, status: 404, detail: "<i>", operator: None, link: None });
        for escaped in ["&#34;T&#39;&#38;", "&#60;b&#62;", "&#60;i&#62;", "Development mode"] {
            assert!(html.contains(escaped), "{escaped}: {html}");
        }
    }
}
