//! Rules of a verify request: `role=`, `max_age=`, `csrf=`, `renew=` and `preflight=`.
//!
//! The rules are either in the path of the verify request or in its query. In the path, only the operator writes them: an unknown
//! rule is an error. In the query, a client may add parameters, because some proxies append the client's query. So the
//! rules in a query can only restrict access: if a rule is repeated, every occurrence applies. An invalid rule is an error. An
//! unknown parameter is ignored, and counted if its name is similar to a rule (`misspelt.rs`).
//!
//! Called by `verify.rs`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::account::Roles;
use crate::clock::UnixTime;
use crate::http::misspelt::MisspeltRuleCounter;
use crate::session::claims::Claims;

/// Rules of one verify request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules<'q> {
    /// One entry per `role=`: a list of roles, separated by commas. The session must have at least one role of each entry.
    roles: Vec<Cow<'q, str>>,
    /// Maximum time since the password was given, in seconds.
    max_age: Option<u64>,
    /// Whether cross-site requests are refused.
    pub(crate) csrf: bool,
    /// Whether the session is renewed by a redirect of the browser to `/auth/renew` and back (`renew=redirect`).
    pub(crate) renew_by_redirect: bool,
    /// Whether CORS preflights pass without a session (`preflight=1`). No other rule allows more requests. So this rule is
    /// accepted only in the path, where clients cannot add it.
    pub(crate) preflight: bool,
}

/// Error for a rule that cannot be parsed. The verify request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadRule;

/// Reason why a live session does not meet the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// The session does not have a required role.
    Role,
    /// The password was given longer ago than `max_age`.
    Age,
}

/// Maximum number of `role=` rules. More rules are an error.
const MAX_ROLE_RULES: usize = 32;
const PREFLIGHT: &str = "preflight";

impl<'q> Rules<'q> {
    /// Reads the rules among the parameters of a query. Ignores other parameters.
    pub(crate) fn of_query(query: Option<&'q str>, mut misspelt: MisspeltRuleCounter) -> Result<Self, BadRule> {
        let mut rules = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name == PREFLIGHT || !rules.add(&name, value)? {
                misspelt.count(&name);
            }
        }
        Ok(rules)
    }

    /// Reads the rules in the segments of a path, up to the segment `-`. Returns them and the rest of the path, which begins with
    /// its slash. A rule may be percent-encoded. The `-` may not.
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
            // Only the operator writes segments, so an unknown segment is a mistake in the configuration.
            rest = after.strip_prefix('/').filter(|_| is_known).ok_or(BadRule)?;
        }
    }

    /// Adds a rule. Returns `false` if there is no such rule. `renew` and `preflight` are rules only with the value `redirect` or
    /// `1`.
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

    /// Checks that a live session meets the rules.
    pub(crate) fn check(&self, claims: &Claims<'_>, now: UnixTime) -> Result<(), Unmet> {
        let has_role = |role: &str| claims.identity.roles().any(|session_role| session_role == role);
        if !self.roles.iter().all(|any_of| any_of.split(',').any(has_role)) {
            return Err(Unmet::Role);
        }
        let age = now.since(claims.authenticated_at).as_secs();
        if self.max_age.is_some_and(|max_age| age > max_age) { Err(Unmet::Age) } else { Ok(()) }
    }
}

/// Parses a number of seconds. Zero is invalid, because no session could meet such a rule.
fn parse_secs(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|secs| *secs > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Chain, Link, Sid, Site};
    use crate::session::Identity;
    use crate::session::claims::{Flags, Methods};

    fn of_query(query: Option<&str>) -> Result<Rules<'_>, BadRule> {
        Rules::of_query(query, MisspeltRuleCounter::new(false))
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
    fn all_rules_apply_and_appended_parameters_allow_nothing() {
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
        let from_the_future = claims("", 1150);
        assert_eq!(of_query(Some("max_age=1")).expect("well formed").check(&from_the_future, UnixTime(1100)), Ok(()));
    }

    #[test]
    fn refuses_a_malformed_rule() {
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
    fn accepts_the_rule_preflight_only_in_the_path() {
        for query in ["preflight=1", "preflight=1&role=a", "role=a&preflight=1&preflight=1", "%70reflight=1"] {
            assert!(!of_query(Some(query)).expect("well formed").preflight, "{query}");
        }
        assert!(Rules::of_segments("role=a/preflight=1/-").expect("well formed").0.preflight);
        assert!(!Rules::of_segments("role=a/-/preflight=1/-").expect("well formed").0.preflight);
    }

    #[test]
    fn segments_end_at_the_hyphen_and_the_rest_is_not_parsed() {
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
