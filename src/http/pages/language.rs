//! The languages of the pages.

use serde::{Deserialize, Serialize};

use super::english;
use super::texts::Texts;

/// Language of the pages (`pages.language`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Language {
    #[serde(rename = "en")]
    English,
}

impl Language {
    pub(crate) const fn texts(self) -> &'static Texts {
        match self {
            Self::English => &english::TEXTS,
        }
    }
}
