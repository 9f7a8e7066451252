//! Parses the settings of listeners, TLS, hosts, cookies and proxies. The error for an invalid host or
//! origin suggests the correct spelling (`suggestions.rs`).

use super::error::{ConfigError, ErrorFor};
use super::listen::Listen;
use super::suggestions;
use super::{Config, Http, Tls};
use crate::http::admin_authorities::AdminAuthorities;
use crate::http::forwarded::TrustedProxies;
use crate::web::hosts::Domain;
use crate::web::origin::Origin;
use crate::web::sites::{BadSite, Sites};

impl Config {
    /// Checks that the listeners have different addresses, and that a listener other than loopback has origins.
    pub(super) fn check_listeners(&self, error_for: ErrorFor<'_>) -> Result<(), ConfigError> {
        let http = &self.http;
        if http.admin_listen.collides_with(&http.listen) {
            let reason = "it is the same as http.listen; the admin listener needs a separate address";
            return Err(error_for("http.admin_listen", reason));
        }
        if http.public_origins.is_empty() && !http.listen.ip().is_some_and(|ip| ip.is_loopback()) {
            let reason = "it must contain the origins that browsers use, because http.listen is not a loopback address";
            return Err(error_for("http.public_origins", reason));
        }
        Ok(())
    }

    /// Checks that the TLS settings are complete and do not contradict others.
    pub(super) fn check_tls(&self, error_for: ErrorFor<'_>) -> Result<(), ConfigError> {
        let Tls { certificate, private_key, self_signed, .. } = &self.tls;
        let has_certificate = !certificate.as_os_str().is_empty();
        let has_key = !private_key.as_os_str().is_empty();
        let (setting, reason) = if has_certificate && !has_key {
            ("tls.private_key", "it must name the file of the private key, because tls.certificate is set")
        } else if has_key && !has_certificate {
            ("tls.certificate", "it must name the file of the certificate, because tls.private_key is set")
        } else if has_certificate && *self_signed {
            ("tls.self_signed", "it cannot be combined with tls.certificate")
        } else if self.tls.is_on() && matches!(self.http.listen, Listen::Unix(_)) {
            ("http.listen", "a Unix socket cannot use TLS; remove the settings of tls")
        } else if self.tls.is_on() && self.cookie.plain_http {
            ("cookie.plain_http", "it cannot be combined with TLS; remove it, or the settings of tls")
        } else {
            return Ok(());
        };
        Err(error_for(setting, reason))
    }

    /// Parses the origins and the domain of the cookie.
    pub(super) fn sites(&self, error_for: ErrorFor<'_>) -> Result<Sites, ConfigError> {
        let Http { public_origins: origins, .. } = &self.http;
        let domain = match &self.cookie.domain[..] {
            "" => None,
            text => Some(Domain::parse(text).ok_or_else(|| {
                let suggestion = suggestions::host(text).filter(|host| Domain::parse(host).is_some());
                let suggestion = suggestion.map(|host| format!("; write {host}")).unwrap_or_default();
                let rule = "it must be a name such as example.com, without a dot in front; or empty";
                error_for("cookie.domain", &format!("{rule}{suggestion}"))
            })?),
        };
        if domain.is_some() && origins.is_empty() {
            return Err(error_for("cookie.domain", "it needs http.public_origins, each on a host of that domain"));
        }
        Sites::new(origins, domain, self.cookie.plain_http, self.tls.is_on()).map_err(|bad_site| {
            let (setting, reason) = match bad_site {
                BadSite::PlainHttpWithDomain => {
                    ("cookie.plain_http", "it cannot be combined with cookie.domain".to_owned())
                }
                BadSite::NotAnOrigin(text) => {
                    let reason = match suggestions::origin(&text) {
                        Some(suggestion) => format!("{text:?} is not an origin as browsers send it; write {suggestion}"),
                        None => format!("{text:?} is not an origin such as https://app.example.com"),
                    };
                    ("http.public_origins", reason)
                }
                BadSite::NotSecure(origin) => (
                    "http.public_origins",
                    format!(
                        "{origin}: browsers drop Secure cookies over plain http; use https, or a loopback host to try things out"
                    ),
                ),
                BadSite::NotTls(origin) => {
                    ("http.public_origins", format!("{origin}: it must be https, because TLS is on"))
                }
                BadSite::NotLoopback(origin) => (
                    "cookie.plain_http",
                    format!("it is only for development on this machine, but http.public_origins contains {origin}"),
                ),
                BadSite::NotInDomain(origin) => {
                    ("cookie.domain", format!("{origin} in http.public_origins does not belong to this domain"))
                }
            };
            error_for(setting, &reason)
        })
    }

    /// Parses the addresses and networks of trusted proxies.
    pub(super) fn trusted_proxies(&self, error_for: ErrorFor<'_>) -> Result<TrustedProxies, ConfigError> {
        let mut proxies = TrustedProxies::default();
        for text in &self.http.trusted_proxies {
            proxies.add(text).ok_or_else(|| {
                let reason = format!("{text:?} is not an address, a network such as 10.0.0.0/8, or unix");
                error_for("http.trusted_proxies", &reason)
            })?;
        }
        Ok(proxies)
    }

    /// Parses the hosts, with optional ports, that the admin listener serves.
    pub(super) fn admin_authorities(&self, error_for: ErrorFor<'_>) -> Result<AdminAuthorities, ConfigError> {
        AdminAuthorities::parse(&self.http.admin_authorities).map_err(|text| {
            let suggestion = suggestions::origin(&text).map(|origin| format!("; write {}", origin.authority()));
            let form = "is not a name such as sealjar.example.com, or a name and port";
            let reason = format!("{text:?} {form}{}", suggestion.unwrap_or_default());
            error_for("http.admin_authorities", &reason)
        })
    }

    /// Checks that each entry of `http.verify_authorities` is a host with an optional port.
    pub(super) fn check_verify_authorities(&self, error_for: ErrorFor<'_>) -> Result<(), ConfigError> {
        for text in &self.http.verify_authorities {
            if Origin::parse(&format!("https://{text}")).is_none() {
                let suggestion = suggestions::origin(text).map(|origin| format!("; write {}", origin.authority()));
                let reason =
                    format!("{text:?} is not a host and port such as sealjar:8080{}", suggestion.unwrap_or_default());
                return Err(error_for("http.verify_authorities", &reason));
            }
        }
        Ok(())
    }
}
