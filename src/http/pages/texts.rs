//! The texts of the pages, one catalogue for each language.

use serde::{Deserialize, Serialize};

/// Language of the pages (`pages.language`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Language {
    #[serde(rename = "en")]
    English,
}
