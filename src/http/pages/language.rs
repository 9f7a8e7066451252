//! The languages of the pages.

use serde::{Deserialize, Serialize};

use super::english;
use super::texts::Texts;

/// Language of the pages (`pages.language`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Language {
    English,
}

impl TryFrom<String> for Language {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == Self::English.texts().tag { Ok(Self::English) } else { Err("the only language is en") }
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.texts().tag.to_owned()
    }
}

impl Language {
    /// Returns the texts of the pages in this language.
    pub(crate) const fn texts(self) -> &'static Texts {
        match self {
            Self::English => &english::TEXTS,
        }
    }
}
