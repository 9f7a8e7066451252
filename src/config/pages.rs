//! Parses the settings of the pages.

use super::Pages;
use super::error::{Bad, ConfigError};
use crate::http::pages::PageSettings;
use crate::http::return_url::ReturnUrl;

/// Maximum length of `pages.title`, in characters.
const MAX_TITLE: usize = 64;

impl Pages {
    pub(super) fn parse(&self, bad: Bad<'_>) -> Result<PageSettings, ConfigError> {
        let Self { home, title, logo, language } = self;
        let home = ReturnUrl::home(home).ok_or_else(|| {
            let reason = format!(
                "{home:?} is neither a path such as / nor a URL such as https://app.example.com/; a page below /auth/ other than /auth/status leads nowhere"
            );
            bad("pages.home", &reason)
        })?;
        if title.chars().count() > MAX_TITLE || title.chars().any(char::is_control) || title.trim() != title {
            let reason = format!("it must be at most {MAX_TITLE} characters in one line, without spaces at its ends");
            return Err(bad("pages.title", &reason));
        }
        Ok(PageSettings {
            home,
            title: Some(title.clone()).filter(|title| !title.is_empty()),
            logo: Some(logo.clone()).filter(|logo| !logo.as_os_str().is_empty()),
            language: *language,
        })
    }
}
