//! Counter for misspelt rules in the query of a verify request, such as `roles=` or `max-age=`.
//!
//! A misspelt rule in a query is ignored, because the query may contain parameters of the client. So the route is less protected
//! than its operator intended. Therefore such parameters are counted for `/metrics`, `/readyz` and `sealjar doctor`. If the rules
//! of a verify request are in its path, all rules in its query are ignored. They are counted too, even if their names are
//! correct.
//!
//! Called by `rules.rs` and `verify.rs`.

use strum::VariantArray;

use crate::log_sampler::sampled;
use crate::metrics::{MISSPELT_RULES, RuleName};

/// Counts misspelt rules among the unknown parameters of one query.
#[derive(Debug)]
pub(super) struct MisspeltRuleCounter {
    /// Number of names that were inspected.
    inspected: usize,
}

impl MisspeltRuleCounter {
    /// Maximum number of parameters that are inspected in one query.
    const MAX_NAMES: usize = 16;
    /// Maximum length of a name that is inspected. Longer names are not similar to a rule.
    const MAX_NAME_BYTES: usize = 20;

    /// Returns a counter for one query. If the same query was counted before (`is_repeated`), the counter counts nothing.
    pub(super) const fn new(is_repeated: bool) -> Self {
        Self { inspected: if is_repeated { Self::MAX_NAMES } else { 0 } }
    }

    /// Counts and logs an unknown parameter if its name is similar to the name of a rule.
    pub(super) fn count(&mut self, name: &str) {
        self.inspected += 1;
        if self.inspected > Self::MAX_NAMES || name.len() > Self::MAX_NAME_BYTES {
            return;
        }
        if let Some(rule) = similar_rule(name) {
            MISSPELT_RULES.add(rule as usize);
            let rule = <&str>::from(rule);
            sampled!(WARN, rule, "query parameter of a verify request ignored: its name is similar to that of a rule");
        }
    }

    /// Counts the rules in the query of a verify request whose rules are in its path. All rules in such a query are ignored.
    pub(super) fn count_in_query(mut self, query: Option<&str>) {
        for (name, _) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(Self::MAX_NAMES) {
            self.count(&name);
        }
    }
}

/// Returns the first rule whose name is similar. Case and punctuation do not count. The names may differ by one letter that is
/// wrong, missing, added or swapped with its neighbour, or by two such letters in a name of more than five letters (an [edit
/// distance](https://en.wikipedia.org/wiki/Damerau%E2%80%93Levenshtein_distance)).
fn similar_rule(name: &str) -> Option<RuleName> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    RuleName::VARIANTS.iter().copied().find(|rule| {
        let rule: String = <&str>::from(rule).chars().filter(char::is_ascii_alphanumeric).collect();
        let max_distance = if rule.len() > 5 { 2 } else { 1 };
        rule.len().abs_diff(letters.len()) <= max_distance && strsim::osa_distance(&rule, &letters) <= max_distance
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rule_with_a_similar_name() {
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
            assert_eq!(similar_rule(name).map(<&str>::from), rule, "{name}");
        }
    }
}
