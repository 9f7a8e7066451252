//! Rules of a protected route: `role=`, `max_age=`, `csrf=`; and `renew=`, `preflight=`.
//!
//! They stand in the segments of the question's path, which are exact: an unknown one refuses. Or they stand in its query. Some
//! proxies append the client's own query to that, so every rule there only narrows: repeated ones all apply, a malformed one refuses,
//! nothing loosens, and what is unknown is passed over. A name that is nearly a rule is counted (`misspelt.rs`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::account::Roles;
use crate::clock::UnixTime;
use crate::http::misspelt::Misspelt;
use crate::session::claims::Claims;

/// What a route asks of a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules<'q> {
    /// Each must hold: the session has one of these roles, separated by commas.
    roles: Vec<Cow<'q, str>>,
    /// How long ago the password may have been given, in seconds.
    max_age: Option<u64>,
    /// The app behind wants cross-site requests refused.
    pub(crate) csrf: bool,
    /// Renewal by a round trip of the browser (`renew=redirect`). Asks nothing of the session.
    pub(crate) renew_by_redirect: bool,
    /// CORS preflights pass without a session (`preflight=1`). The one rule that lets something pass: only segments have it.
    pub(crate) preflight: bool,
}

/// A rule that cannot be read. It refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadRule;

/// Why a live session is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// A role is missing.
    Role,
    /// The password was given too long ago.
    Age,
}

/// More `role=` rules than this are refused.
const MAX_ROLE_RULES: usize = 32;
const PREFLIGHT: &str = "preflight";

impl<'q> Rules<'q> {
    /// The rules among the pairs of a query.
    pub(crate) fn of_query(query: Option<&'q str>, mut misspelt: Misspelt) -> Result<Self, BadRule> {
        let mut rules = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name == PREFLIGHT || !rules.add(&name, value)? {
                misspelt.look_at(&name);
            }
        }
        Ok(rules)
    }

    /// The rules in the segments of a path, each of which may be percent-encoded, up to the segment `-`, which may not; and the rest
    /// of the path after that, with its slash.
    pub(crate) fn of_segments(path: &'q str) -> Result<(Self, &'q str), BadRule> {
        let mut rules = Self::default();
        let mut rest = path;
        loop {
            let (segment, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if segment == "-" {
                return Ok((rules, after));
            }
            let is_known = match percent_decode_str(segment).decode_utf8().map_err(|_| BadRule)? {
                Cow::Borrowed(plain) => {
                    let (name, value) = plain.split_once('=').ok_or(BadRule)?;
                    rules.add(name, Cow::Borrowed(value))?
                }
                Cow::Owned(decoded) => {
                    let (name, value) = decoded.split_once('=').ok_or(BadRule)?;
                    rules.add(name, Cow::Owned(value.to_owned()))?
                }
            };
            // A segment that is no rule is one that the operator misspelt.
            rest = after.strip_prefix('/').filter(|_| is_known).ok_or(BadRule)?;
        }
    }

    /// Adds a rule. Returns whether there is one of this name.
    fn add(&mut self, name: &str, value: Cow<'q, str>) -> Result<bool, BadRule> {
        match name {
            "role" if value.split(',').all(Roles::is_role) && self.roles.len() < MAX_ROLE_RULES => {
                self.roles.push(value)
            }
            "max_age" => {
                let secs = parse_secs(&value).ok_or(BadRule)?;
                self.max_age = Some(self.max_age.map_or(secs, |other| other.min(secs)));
            }
            "csrf" if ["", "1", "true", "on", "yes", "enforce"].contains(&&*value) => self.csrf = true,
            "role" | "csrf" => return Err(BadRule),
            "renew" if value == "redirect" => self.renew_by_redirect = true,
            PREFLIGHT if value == "1" => self.preflight = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Holds the rules against a live session.
    pub(crate) fn check(&self, claims: &Claims<'_>, now: UnixTime) -> Result<(), Unmet> {
        let has = |role: &str| claims.identity.roles().any(|held| held == role);
        if !self.roles.iter().all(|any_of| any_of.split(',').any(has)) {
            return Err(Unmet::Role);
        }
        let age = now.since(claims.authenticated_at).as_secs();
        if self.max_age.is_some_and(|most| age > most) { Err(Unmet::Age) } else { Ok(()) }
    }
}

/// Whole seconds, one at least: with none, nobody could ever come in.
fn parse_secs(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|secs| *secs > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Chain, Link, Sid, Site};
    use crate::session::Identity;
    use crate::session::claims::{Flags, Methods};

    fn of_query(query: Option<&str>) -> Result<Rules<'_>, BadRule> {
        Rules::of_query(query, Misspelt::new(false))
    }

    fn claims(roles: &'static str, authenticated_at: u64) -> Claims<'static> {
        Claims {
            sid: Sid::from_bytes([1; 16]),
            chain: Chain::from_bytes([2; 16]),
            renewals: 0,
            link: Link::from_bytes([4; 8]),
            parent: Link::from_bytes([0; 8]),
            site: Site::from_bytes([3; 8]),
            identity: Identity {
                sub: "s",
                account_generation: 1,
                global_generation: 1,
                login_name: "alice",
                display_name: "",
                email: "",
                roles,
            },
            authenticated_at: UnixTime(authenticated_at),
            sealed_at: UnixTime(authenticated_at),
            idle_deadline: UnixTime(u64::MAX),
            absolute_deadline: UnixTime(u64::MAX),
            methods: Methods::PASSWORD,
            flags: Flags::default(),
            app_data: &[],
        }
    }

    #[test]
    fn every_rule_holds_and_nothing_that_is_appended_loosens() {
        let session = claims("admin,staff", 1000);
        let cases = [
            ("", Ok(())),
            ("role=admin", Ok(())),
            ("role=ops,staff", Ok(())),
            ("role=admin&role=staff", Ok(())),
            ("role=%61dmin&ROLE=ops&role[]=ops", Ok(())),
            ("role=ops", Err(Unmet::Role)),
            ("role=admi", Err(Unmet::Role)),
            ("role=Admin", Err(Unmet::Role)),
            ("role=ops&role=admin", Err(Unmet::Role)),
            ("role=admin&role=ops", Err(Unmet::Role)),
            ("%72ole=ops", Err(Unmet::Role)),
            ("max_age=100", Ok(())),
            ("max_age=99", Err(Unmet::Age)),
            ("max_age=99&max_age=999999", Err(Unmet::Age)),
            ("max_age=999999&max_age=99", Err(Unmet::Age)),
            ("role=ops&max_age=99", Err(Unmet::Role)),
            ("x=1&maxage=1&unknown", Ok(())),
        ];
        for (query, expected) in cases {
            let rules = of_query(Some(query)).expect("well formed");
            assert_eq!(rules.check(&session, UnixTime(1100)), expected, "{query}");
        }
        let ahead = claims("", 1150);
        assert_eq!(of_query(Some("max_age=1")).expect("well formed").check(&ahead, UnixTime(1100)), Ok(()));
    }

    #[test]
    fn a_malformed_rule_refuses() {
        let many = "role=a&".repeat(MAX_ROLE_RULES + 1);
        for query in [
            "role=",
            "role",
            "role=a,",
            "role=,a",
            "role=a%20b",
            "role=%ff",
            "max_age=",
            "max_age=0",
            "max_age=-1",
            "max_age=1e9",
            "max_age=+5",
            "max_age=1m",
            "max_age=18446744073709551616",
            "max_age=100&max_age=x",
            "csrf=0",
            "csrf=1&csrf=false",
            "csrf=no",
            "csrf=maybe",
            &many,
        ] {
            assert_eq!(of_query(Some(query)), Err(BadRule), "{query}");
        }
    }

    #[test]
    fn only_a_segment_lets_preflights_pass() {
        for query in ["preflight=1", "preflight=1&role=a", "role=a&preflight=1&preflight=1", "%70reflight=1"] {
            assert!(!of_query(Some(query)).expect("well formed").preflight, "{query}");
        }
        assert!(Rules::of_segments("role=a/preflight=1/-").expect("well formed").0.preflight);
        assert!(!Rules::of_segments("role=a/-/preflight=1/-").expect("well formed").0.preflight);
    }

    #[test]
    fn segments_end_at_the_hyphen_and_the_rest_is_not_looked_at() {
        for (path, rest) in [
            ("-", ""),
            ("-/", "/"),
            ("-/app/role=x/-/y", "/app/role=x/-/y"),
            ("role=admin/max_age=60/-//x", "//x"),
            ("role=admin,ops/csrf=1/-/%ff", "/%ff"),
            ("role%3Dadmin%2Cops/m%61x_age=60/-/%2d", "/%2d"),
            ("renew=redirect/preflight=1/-", ""),
        ] {
            assert_eq!(Rules::of_segments(path).expect("well formed").1, rest, "{path}");
        }
        let (rules, _) = Rules::of_segments("role=ops/-/").expect("well formed");
        assert_eq!(rules.check(&claims("staff", 0), UnixTime(0)), Err(Unmet::Role));
        for path in [
            "",
            "/",
            "/-",
            "x",
            "role=a",
            "role=a/",
            "admin/-/",
            "role=/-/",
            "role=a//-/",
            "--/",
            "max_age=x/-",
            "role=a/%2d/",
            "role=%ff/-",
            "role=a%2F-/x",
            "roles=a/-",
            "Role=a/-",
            "role =a/-",
            "max-age=60/-",
            "maxage=60/-",
            "csfr=1/-",
            "CSRF=1/-",
            "renew=always/-",
            "renew/-",
            "preflight=/-",
            "preflight=true/-",
            "preflight/-",
            "x=1/-",
            "=/-",
        ] {
            assert_eq!(Rules::of_segments(path), Err(BadRule), "{path}");
        }
    }
}
