//! Check of the pages: whether the server can read their logo at its next start.

use super::report::Report;
use crate::config::Config;
use crate::http::pages::assets::{Asset, LogoError};

pub(super) fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "pages.logo";
    let logo = &config.pages.logo;
    if logo.as_os_str().is_empty() {
        return;
    }
    match Asset::read_logo(logo) {
        Ok(_) => report.ok(CHECK, format!("{} can be used", logo.display())),
        Err(error) => {
            report.problem(CHECK, format!("{error}; with this logo the server does not start"), LogoError::REMEDY);
        }
    }
}
