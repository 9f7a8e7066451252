//! Collects the documentation of every setting from the comments in `config.rs`, for `docs/reference/settings.md`, the
//! manual page and `sealjar config --explain`. Also suggests similar names for unknown settings.

use toml::Value;

use super::{
    Config, Cookie, Http, Keys, Log, Node, Pages, PasswordCost, Postgres, Process, Revocation, Session, Throttle, Tls,
};

/// A section: its name, the lines of its comment, and its fields with the lines of their comments.
type Declaration = (&'static str, &'static [&'static str], &'static [(&'static str, &'static [&'static str])]);

/// All sections, in the order of the documentation.
const SECTIONS: [Declaration; 14] = [
    ("", Config::ABOUT, Config::MEANINGS),
    ("http", Http::ABOUT, Http::MEANINGS),
    ("tls", Tls::ABOUT, Tls::MEANINGS),
    ("cookie", Cookie::ABOUT, Cookie::MEANINGS),
    ("pages", Pages::ABOUT, Pages::MEANINGS),
    ("keys", Keys::ABOUT, Keys::MEANINGS),
    ("node", Node::ABOUT, Node::MEANINGS),
    ("session", Session::ABOUT, Session::MEANINGS),
    ("revocation", Revocation::ABOUT, Revocation::MEANINGS),
    ("password", PasswordCost::ABOUT, PasswordCost::MEANINGS),
    ("throttle", Throttle::ABOUT, Throttle::MEANINGS),
    ("postgres", Postgres::ABOUT, Postgres::MEANINGS),
    ("log", Log::ABOUT, Log::MEANINGS),
    ("process", Process::ABOUT, Process::MEANINGS),
];

/// Maximum length of a line in Markdown.
const MARKDOWN_WIDTH: usize = 120;

/// A section of the configuration file.
#[derive(Debug)]
pub(crate) struct Section {
    /// Name of the section. Empty for the top level of the file.
    pub(crate) name: &'static str,
    /// Description of the section.
    pub(crate) about: String,
    pub(crate) settings: Vec<Setting>,
}

/// The documentation of a setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Dotted name.
    pub(crate) name: String,
    /// Description of the setting.
    pub(crate) meaning: String,
}

/// Returns every section with its settings.
pub(crate) fn sections() -> Vec<Section> {
    let setting = |section: &str, field: &str, lines| Setting {
        name: if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") },
        meaning: joined(lines),
    };
    // The fields of `Config` that are sections have no comment.
    let settings = |section: &'static str, fields: &[(&str, &'static [&'static str])]| {
        let fields = fields.iter().filter(|(_, lines)| !lines.is_empty());
        fields.map(|(field, lines)| setting(section, field, lines)).collect()
    };
    let section = |(name, about, fields)| Section { name, about: joined(about), settings: settings(name, fields) };
    SECTIONS.into_iter().map(section).collect()
}

/// Returns Markdown: for each section a heading, and a table of its settings with their defaults.
pub(crate) fn tables() -> String {
    let defaults = Config::default().values();
    let mut text = String::new();
    for Section { name, about, settings } in sections() {
        let heading = if name.is_empty() { "store" } else { name };
        let about = wrapped(&about, "", MARKDOWN_WIDTH);
        text += &format!("## {heading}\n\n{about}\n| setting | default | meaning |\n|---|---|---|\n");
        for Setting { name, meaning } in settings {
            let default = match &defaults[&name] {
                Value::String(text) if text.is_empty() => "none".to_owned(),
                Value::Array(items) if items.is_empty() => "none".to_owned(),
                Value::String(text) => format!("`{text}`"),
                value => format!("`{value}`"),
            };
            text += &format!("| `{name}` | {default} | {meaning} |\n");
        }
        text += "\n";
    }
    text
}

/// Breaks a text into lines of at most `width` bytes, each with the prefix. A word that is longer than a line gets its
/// own line.
pub(crate) fn wrapped(text: &str, prefix: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > width {
            lines.extend([prefix, &line, "\n"]);
            line.clear();
        }
        line.extend([if line.is_empty() { "" } else { " " }, word]);
    }
    lines.extend([prefix, &line, "\n"]);
    lines
}

/// Returns the hint for an unknown setting. `format_name` converts the name of the suggested setting to the form that the
/// operator used, such as the name of a variable.
pub(crate) fn hint_for_unknown(name: &str, format_name: impl Fn(String) -> String) -> String {
    let explain_hint = "`sealjar config --explain` explains all settings";
    if !name.is_empty() && SECTIONS.iter().any(|(section, ..)| *section == name) {
        return format!("{name} is a section, which has settings and no value; {explain_hint}");
    }
    nearest(name).map_or_else(
        || explain_hint.to_owned(),
        |nearest| format!("did you mean {}? {explain_hint}", format_name(nearest)),
    )
}

/// Returns the setting or section with the most similar name, if one is similar enough.
fn nearest(name: &str) -> Option<String> {
    let sections = sections();
    let mut names: Vec<String> =
        sections.iter().flat_map(|section| &section.settings).map(|setting| setting.name.clone()).collect();
    // The operator may have omitted the section.
    let without_section = names.iter().find(|full| full.rsplit('.').next() == Some(name));
    if let Some(full_name) = without_section {
        return Some(full_name.clone());
    }
    names.extend(sections.iter().map(|section| section.name.to_owned()).filter(|name| !name.is_empty()));
    let distances = names.into_iter().map(|known| (strsim::osa_distance(&known, name), known));
    // A name with more differences than this is probably not the intended one.
    let max_distance = (name.len() / 4).clamp(1, 3);
    distances.filter(|(distance, _)| *distance <= max_distance).min().map(|(_, known)| known)
}

/// Joins the lines of a comment with spaces.
fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_meaning() {
        let sections = sections();
        let documented: Vec<&str> =
            sections.iter().flat_map(|section| &section.settings).map(|setting| setting.name.as_str()).collect();
        let settings = Config::default().values();
        assert_eq!(documented.len(), settings.len());
        assert!(documented.iter().all(|name| settings.contains_key(*name)), "{documented:?}");
        assert!(sections.iter().all(|section| !section.about.is_empty()));
    }

    #[test]
    fn wraps_lines_at_the_given_width() {
        assert_eq!(wrapped("one two three four", "# ", 9), "# one two\n# three\n# four\n");
        assert_eq!(wrapped("longer-than-that", "", 5), "longer-than-that\n");
    }

    #[test]
    fn suggests_the_most_similar_name() {
        for (name, expected) in [
            ("http.lisen", Some("http.listen")),
            ("session.idel", Some("session.idle")),
            ("max_staleness", Some("revocation.max_staleness")),
            ("htp", Some("http")),
            ("stor", Some("store")),
            ("session.color", None),
            ("", None),
        ] {
            assert_eq!(nearest(name).as_deref(), expected, "{name}");
        }
    }
}
