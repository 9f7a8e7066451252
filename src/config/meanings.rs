//! The meaning of every setting, for the documents: the manual page is made from it, and a test holds the README against it.

use toml::Value;

use super::{Config, Cookie, Http, Keys, Log, Node, PasswordCost, Postgres, Revocation, Session, Throttle, Tls};

/// The fields of a section, each with the lines of its comment.
type Meanings = &'static [(&'static str, &'static [&'static str])];

const SECTIONS: [(&str, Meanings); 12] = [
    ("", Config::MEANINGS),
    ("postgres.", Postgres::MEANINGS),
    ("http.", Http::MEANINGS),
    ("tls.", Tls::MEANINGS),
    ("cookie.", Cookie::MEANINGS),
    ("keys.", Keys::MEANINGS),
    ("node.", Node::MEANINGS),
    ("session.", Session::MEANINGS),
    ("revocation.", Revocation::MEANINGS),
    ("password.", PasswordCost::MEANINGS),
    ("throttle.", Throttle::MEANINGS),
    ("log.", Log::MEANINGS),
];

/// Returns a table in Markdown: name, default and meaning of every setting.
pub(crate) fn table() -> String {
    let defaults = Config::default().values();
    let mut table = "| setting | default | meaning, and what is dangerous about it |\n|---|---|---|\n".to_owned();
    for (section, fields) in SECTIONS {
        // A section's own field in `Config` has no comment.
        for (field, lines) in fields.iter().filter(|(_, lines)| !lines.is_empty()) {
            let name = format!("{section}{field}");
            let default = match &defaults[&name] {
                Value::String(text) if text.is_empty() => "none".to_owned(),
                Value::Array(items) if items.is_empty() => "none".to_owned(),
                Value::String(text) => format!("`{text}`"),
                value => format!("`{value}`"),
            };
            let meaning: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            table += &format!("| `{name}` | {default} | {} |\n", meaning.join(" "));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_meaning() {
        let table = table();
        let named: Vec<&str> = table.lines().skip(2).filter_map(|row| row.split('`').nth(1)).collect();
        let settings = Config::default().values();
        assert_eq!(named.len(), settings.len());
        assert!(named.iter().all(|name| settings.contains_key(*name)), "{named:?}");
    }

    #[test]
    fn the_readme_has_the_table_of_settings() {
        let table = table();
        assert!(include_str!("../../README.md").contains(&table), "put this into README.md:\n{table}");
    }
}
