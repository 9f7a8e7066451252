//! Parses the settings of the pages that Sealjar shows to users, such as the login page.

use super::Pages;
use super::error::{ConfigError, ErrorFor};
use crate::http::pages::PageSettings;
use crate::http::return_url::ReturnUrl;

/// Maximum length of `pages.title`, in characters.
const MAX_TITLE_CHARS: usize = 64;

impl Pages {
    /// Parses the settings of the pages.
    pub(super) fn parse(&self, error_for: ErrorFor<'_>) -> Result<PageSettings, ConfigError> {
        let Self { home, title, logo, language } = self;
        let home = ReturnUrl::home(home).ok_or_else(|| {
            let reason = format!(
                "{home:?} must be a path such as /, or a URL with a path, such as https://app.example.com/; http is for loopback hosts only, and below /auth/ only /auth/status is possible"
            );
            error_for("pages.home", &reason)
        })?;
        if title.chars().count() > MAX_TITLE_CHARS || title.chars().any(char::is_control) || title.trim() != title {
            let reason =
                format!("it must be at most {MAX_TITLE_CHARS} characters in one line, without spaces at its ends");
            return Err(error_for("pages.title", &reason));
        }
        Ok(PageSettings {
            home,
            title: Some(title.clone()).filter(|title| !title.is_empty()),
            logo: Some(logo.clone()).filter(|logo| !logo.as_os_str().is_empty()),
            language: *language,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Flag;
    use crate::config::sources::ConfigSources;

    fn parse(setting: &str, text: &str) -> Result<PageSettings, String> {
        let flag = Flag { flag: "--set".to_owned(), setting: setting.to_owned(), text: text.to_owned() };
        let (layers, config) =
            ConfigSources::new(None, Vec::new(), vec![flag]).read().map_err(|error| error.to_string())?;
        config.parse(&layers).map(|settings| settings.pages).map_err(|error| error.to_string())
    }

    #[test]
    fn refuses_invalid_settings_of_pages() {
        let long = "x".repeat(65);
        for (setting, text, expected) in [
            ("pages.home", "", "must be a path"),
            ("pages.home", "app", "must be a path"),
            ("pages.home", "/auth/login", "must be a path"),
            ("pages.home", "https://app.example.com", "a URL with a path"),
            ("pages.home", "http://app.example.com/", "http is for loopback hosts only"),
            ("pages.title", &*long, "at most 64 characters"),
            ("pages.title", " x", "without spaces at its ends"),
            ("pages.title", "a\nb", "in one line"),
            ("pages.language", "fr", "the only language is en"),
        ] {
            let error = parse(setting, text).expect_err("refused");
            assert!(error.contains(setting) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn accepts_a_title_a_logo_and_a_home_page() {
        let title = parse("pages.title", "Caf\u{e9} & S\u{f6}hne").expect("a title").title;
        assert_eq!(title.as_deref(), Some("Caf\u{e9} & S\u{f6}hne"));
        assert_eq!(parse("pages.title", "").expect("an empty title is valid").title, None);
        assert!(parse("pages.logo", "logo.svg").expect("a path").logo.is_some_and(|path| path.ends_with("logo.svg")));
        for home in
            ["/", "/start?x=1#y", "https://app.example.com/", "http://localhost:3000/x", "/auth/status", "/author"]
        {
            assert_eq!(parse("pages.home", home).expect(home).home.as_str(), home);
        }
    }
}
