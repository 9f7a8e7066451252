//! Parameters of a question's query that are nearly a rule, such as `roles=` or `max-age=`.
//!
//! They are passed over, because the query may hold the visitor's own parameters, so the route is wider open than its operator meant.
//! They are counted, for `/metrics`, `/readyz` and `sealjar doctor`. Where the rules are segments, a rule in the query is passed over,
//! too, however it is spelled.

use strum::VariantArray;

use crate::log_sampler::sampled;
use crate::metrics::{MISSPELT_RULES, RuleName};

/// Looks at the unknown parameters of one query.
#[derive(Debug)]
pub(super) struct Misspelt {
    looked_at: usize,
}

impl Misspelt {
    /// Of the parameters of one query, only so many are looked at.
    const MAX_NAMES: usize = 16;
    /// Longer names are not near to a rule.
    const MAX_NAME_BYTES: usize = 20;

    /// Counts nothing if the query was looked at before.
    pub(super) const fn new(is_repeated: bool) -> Self {
        Self { looked_at: if is_repeated { Self::MAX_NAMES } else { 0 } }
    }

    /// Counts a parameter that is no rule, if its name is nearly one.
    pub(super) fn look_at(&mut self, name: &str) {
        self.looked_at += 1;
        if self.looked_at > Self::MAX_NAMES || name.len() > Self::MAX_NAME_BYTES {
            return;
        }
        if let Some(rule) = nearest(name) {
            MISSPELT_RULES.add(rule as usize);
            let rule = <&str>::from(rule);
            sampled!(
                WARN,
                rule,
                "the query of a proxy's question has a parameter that is no rule there; it is passed over"
            );
        }
    }

    /// Counts the rules in the query of a question whose rules are segments.
    pub(super) fn look_at_all(mut self, query: Option<&str>) {
        for (name, _) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(Self::MAX_NAMES) {
            self.look_at(&name);
        }
    }
}

/// Returns the rule that was meant: the same letters, or one wrong, missing, added or exchanged; in long names two.
fn nearest(name: &str) -> Option<RuleName> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    RuleName::VARIANTS.iter().copied().find(|rule| {
        let rule: String = <&str>::from(rule).chars().filter(char::is_ascii_alphanumeric).collect();
        let most = if rule.len() > 5 { 2 } else { 1 };
        rule.len().abs_diff(letters.len()) <= most && strsim::osa_distance(&rule, &letters) <= most
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rule_that_was_meant() {
        for (name, rule) in [
            ("roles", Some("role")),
            ("Role", Some("role")),
            ("role[]", Some("role")),
            ("rloe", Some("role")),
            ("rol", Some("role")),
            ("max-age", Some("max_age")),
            ("maxage", Some("max_age")),
            ("MaxAge", Some("max_age")),
            ("max_agee", Some("max_age")),
            ("csfr", Some("csrf")),
            ("xsrf", Some("csrf")),
            ("renewal", None),
            ("renews", Some("renew")),
            ("preflight", Some("preflight")),
            ("pre-flight", Some("preflight")),
            ("q", None),
            ("page", None),
            ("utm_source", None),
            ("redirect", None),
            ("\u{440}\u{43e}le", None),
            ("", None),
        ] {
            assert_eq!(nearest(name).map(<&str>::from), rule, "{name}");
        }
    }
}
