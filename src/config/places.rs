//! Parses the settings of listeners, TLS, hosts, cookies and proxies: where requests come from, and under which names.

use super::error::{Bad, ConfigError};
use super::listen::Listen;
use super::spelling;
use super::{Config, Http, Tls};
use crate::http::admin_authorities::AdminAuthorities;
use crate::http::forwarded::TrustedProxies;
use crate::web::hosts::Domain;
use crate::web::origin::Origin;
use crate::web::sites::{BadSite, Sites};

impl Config {
    pub(super) fn check_listeners(&self, bad: Bad<'_>) -> Result<(), ConfigError> {
        let http = &self.http;
        if http.admin_listen.collides_with(&http.listen) {
            let reason = "it is the same as http.listen; /healthz and /readyz need an address of their own";
            return Err(bad("http.admin_listen", reason));
        }
        if http.public_origins.is_empty() && !http.listen.ip().is_some_and(|ip| ip.is_loopback()) {
            let reason = "it must name the origins that browsers use, because http.listen is not a loopback address";
            return Err(bad("http.public_origins", reason));
        }
        Ok(())
    }

    pub(super) fn check_tls(&self, bad: Bad<'_>) -> Result<(), ConfigError> {
        let Tls { certificate, private_key, self_signed, .. } = &self.tls;
        let has_certificate = !certificate.as_os_str().is_empty();
        let has_key = !private_key.as_os_str().is_empty();
        let (setting, reason) = if has_certificate && !has_key {
            ("tls.private_key", "it must name the file of the private key, because tls.certificate is set")
        } else if has_key && !has_certificate {
            ("tls.certificate", "it must name the file of the certificate, because tls.private_key is set")
        } else if has_certificate && *self_signed {
            ("tls.self_signed", "there is a certificate in tls.certificate already")
        } else if self.tls.is_on() && matches!(self.http.listen, Listen::Unix(_)) {
            ("http.listen", "there is no TLS on a Unix socket; leave out the settings of tls")
        } else if self.tls.is_on() && self.cookie.plain_http {
            ("cookie.plain_http", "it is for plain HTTP, and the settings of tls are given")
        } else {
            return Ok(());
        };
        Err(bad(setting, reason))
    }

    pub(super) fn sites(&self, bad: Bad<'_>) -> Result<Sites, ConfigError> {
        let Http { public_origins: origins, .. } = &self.http;
        let domain = match &self.cookie.domain[..] {
            "" => None,
            text => Some(Domain::parse(text).ok_or_else(|| {
                let meant = spelling::host(text).filter(|host| Domain::parse(host).is_some());
                let meant = meant.map(|host| format!("; write {host}")).unwrap_or_default();
                let rule = "it must be a name such as example.com, without a dot in front; or empty";
                bad("cookie.domain", &format!("{rule}{meant}"))
            })?),
        };
        if domain.is_some() && origins.is_empty() {
            return Err(bad("cookie.domain", "it needs http.public_origins, each on a host of that domain"));
        }
        Sites::new(origins, domain, self.cookie.plain_http, self.tls.is_on()).map_err(|fault| {
            let (setting, reason) = match fault {
                BadSite::PlainHttpWithDomain => {
                    ("cookie.plain_http", "it cannot be combined with cookie.domain".to_owned())
                }
                BadSite::NotAnOrigin(text) => {
                    let reason = match spelling::origin(&text) {
                        Some(meant) => format!("{text:?} is not an origin as browsers send it; write {meant}"),
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
                    ("http.public_origins", format!("{origin}: with the settings of tls it must be https"))
                }
                BadSite::NotLoopback(origin) => (
                    "cookie.plain_http",
                    format!("it is for development on this machine, and http.public_origins names {origin}"),
                ),
                BadSite::NotInDomain(origin) => {
                    ("cookie.domain", format!("{origin} of http.public_origins is not below it"))
                }
            };
            bad(setting, &reason)
        })
    }

    pub(super) fn trusted_proxies(&self, bad: Bad<'_>) -> Result<TrustedProxies, ConfigError> {
        let mut proxies = TrustedProxies::default();
        for text in &self.http.trusted_proxies {
            proxies.add(text).ok_or_else(|| {
                let reason = format!("{text:?} is neither an address nor a network such as 10.0.0.0/8, nor unix");
                bad("http.trusted_proxies", &reason)
            })?;
        }
        Ok(proxies)
    }

    pub(super) fn admin_authorities(&self, bad: Bad<'_>) -> Result<AdminAuthorities, ConfigError> {
        AdminAuthorities::parse(&self.http.admin_authorities).map_err(|text| {
            let meant = spelling::origin(&text).map(|origin| format!("; write {}", origin.authority()));
            let form = "is not a name such as sealjar.example.com, or a name and port";
            let reason = format!("{text:?} {form}{}", meant.unwrap_or_default());
            bad("http.admin_authorities", &reason)
        })
    }

    pub(super) fn check_verify_authorities(&self, bad: Bad<'_>) -> Result<(), ConfigError> {
        for text in &self.http.verify_authorities {
            if Origin::parse(&format!("https://{text}")).is_none() {
                let meant = spelling::origin(text).map(|origin| format!("; write {}", origin.authority()));
                let reason =
                    format!("{text:?} is not a host and port such as sealjar:8080{}", meant.unwrap_or_default());
                return Err(bad("http.verify_authorities", &reason));
            }
        }
        Ok(())
    }
}
