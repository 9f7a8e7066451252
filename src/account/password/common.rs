//! New passwords are compared with the guesses that are made first (NIST SP 800-63B section 3.1.1.2): lists of leaked passwords,
//! words, names, rows of keys, repetitions and years, and the names of the account itself. No rule asks for kinds of characters.
//!
//! * What people add to a common password does not count: digits and punctuation at its start and end. But if they alone could be
//!   set as a password, they protect it.
//! * The time is bounded, because this runs on the threads that hash. zxcvbn tries every combination of the letters that digits
//!   and punctuation may stand for, on every part of the text, against every word of the account. So the number of combinations,
//!   the length of the text, and the number and length of those words are limited here.

use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

use super::super::{BadPassword, Password, Profile, normalize};

/// A password within so many of the first guesses is refused.
const FIRST_GUESSES: u64 = 10_000;
/// Maximum number of characters that zxcvbn looks at. Of a longer text, it looks at the first and at the last ones.
const MAX_LOOKED_AT: usize = 40;
/// Maximum number of combinations of substitutions that zxcvbn may try.
const MAX_COMBINATIONS: usize = 32;
/// Maximum number of the account's words that zxcvbn gets. An equal password is found among any number of them.
const MAX_WORDS: usize = 8;
/// Maximum length of such a word, in characters. For longer ones, zxcvbn's numbers could overflow.
const MAX_WORD: usize = 24;
/// Minimum number of characters of a word of the account. It is refused if it is all that is left without digits and punctuation.
const MIN_ACCOUNT_WORD: usize = 3;
/// The same for other words. Many shorter texts are in some list, so random passwords would be refused.
const MIN_STEM: usize = 4;

/// The characters that zxcvbn reads as letters, by letter.
const SUBSTITUTIONS: [(char, &str); 12] = [
    ('a', "4@"),
    ('b', "8"),
    ('c', "({[<"),
    ('e', "3"),
    ('g', "69"),
    ('i', "1!|"),
    ('l', "1|7"),
    ('o', "0"),
    ('s', "$5"),
    ('t', "+7"),
    ('x', "%"),
    ('z', "2"),
];

/// Checks that the password of this account would not be guessed soon.
///
/// # Errors
/// [`BadPassword::Common`] if it would.
pub(crate) fn check_uncommon(password: &Password, profile: &Profile) -> Result<(), BadPassword> {
    if AccountWords::of(profile).is_guessed(password.expose_text()) { Err(BadPassword::Common) } else { Ok(()) }
}

/// The words that an attacker who knows the account tries: names of the account, their parts, and the name of this program.
struct AccountWords(Vec<String>);

impl AccountWords {
    fn of(profile: &Profile) -> Self {
        let name = profile.display_name.as_str();
        let email = profile.email.as_str();
        let mut words = vec!["sealjar", profile.login_name.as_str(), name, email];
        words.extend(email.split('@').chain(name.split_whitespace()));
        words.retain(|word| word.chars().count() >= MIN_ACCOUNT_WORD);
        Self(words.into_iter().map(|word| normalize(word).to_lowercase()).collect())
    }

    /// Whether the text, or what is left of it without digits and punctuation, is guessed first.
    fn is_guessed(&self, text: &str) -> bool {
        if self.is_guessed_as_it_is(text) {
            return true;
        }
        let is_added = |c: char| !c.is_alphabetic();
        let unit = repeated(text);
        let without_end = unit.trim_end_matches(is_added);
        let without_start = unit.trim_start_matches(is_added);
        let stem = without_end.trim_start_matches(is_added);
        if stem.is_empty() {
            return false;
        }
        let start = &unit[..unit.len() - without_start.len()];
        let added = Password::new(format!("{start}{}", &unit[without_end.len()..]).into());
        if added.check_new().is_ok() && !self.is_guessed_as_it_is(added.expose_text()) {
            return false;
        }
        // A character at one end may be a substitution: "$ummer1".
        [stem, without_end, without_start].into_iter().any(|stem| {
            let is_long = stem.chars().count() >= MIN_STEM;
            self.contains(stem) || (is_long && self.is_guessed_as_it_is(stem))
        })
    }

    /// Whether this very text is guessed first.
    fn is_guessed_as_it_is(&self, text: &str) -> bool {
        let count = text.chars().count();
        if self.contains(text) {
            true
        } else if count <= MAX_LOOKED_AT {
            self.guesses(text) < FIRST_GUESSES
        } else {
            let first: Zeroizing<String> = text.chars().take(MAX_LOOKED_AT).collect::<String>().into();
            let last: Zeroizing<String> = text.chars().skip(count - MAX_LOOKED_AT).collect::<String>().into();
            self.guesses(&first) < FIRST_GUESSES && self.guesses(&last) < FIRST_GUESSES
        }
    }

    fn contains(&self, text: &str) -> bool {
        let text = Zeroizing::new(text.to_lowercase());
        self.0.contains(&text)
    }

    /// How many guesses zxcvbn expects. For text of at most [`MAX_LOOKED_AT`] characters.
    fn guesses(&self, text: &str) -> u64 {
        let words = self.0.iter().map(String::as_str).filter(|word| word.chars().count() <= MAX_WORD);
        let words: Vec<&str> = words.take(MAX_WORDS).collect();
        if combinations(text) <= MAX_COMBINATIONS {
            zxcvbn(text, &words).guesses()
        } else {
            zxcvbn(&without_symbols(text), &words).guesses()
        }
    }
}

/// The shortest text of which this one is a repetition. The text itself, if it is none.
fn repeated(text: &str) -> &str {
    // Bytes, because the end of the second part can be inside a character.
    let bytes = text.as_bytes();
    let is_period = |n: &usize| bytes.len().is_multiple_of(*n) && bytes[*n..] == bytes[..bytes.len() - n];
    let mut lengths = text.char_indices().map(|(place, _)| place).skip(1);
    lengths.find(is_period).map_or(text, |length| &text[..length])
}

/// An upper bound of the combinations of substitutions that zxcvbn tries: for each letter one of those in the text. One that stands
/// for two letters doubles them.
fn combinations(text: &str) -> usize {
    let letters = |c: char| SUBSTITUTIONS.iter().filter(|(_, symbols)| symbols.contains(c)).count();
    let choices = |symbols: &str| symbols.chars().filter(|c| text.contains(*c)).map(letters).sum::<usize>().max(1);
    SUBSTITUTIONS.iter().map(|(_, symbols)| choices(symbols)).product()
}

/// The text with the first letter that each symbol stands for. Digits stay, for years and rows of keys: all ten together have no
/// more than [`MAX_COMBINATIONS`].
fn without_symbols(text: &str) -> Zeroizing<String> {
    let letter =
        |c: char| SUBSTITUTIONS.iter().find(|(_, symbols)| symbols.contains(c)).map_or(c, |(letter, _)| *letter);
    let plain = text.chars().map(|c| if c.is_ascii_digit() { c } else { letter(c) });
    Zeroizing::new(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(text: &str) -> bool {
        let profile = Profile {
            login_name: "annabelle".parse().expect("a login name"),
            display_name: "Annabelle Winterbottom".parse().expect("a display name"),
            email: "a.winterbottom@orchard.example".parse().expect("an address"),
            roles: crate::account::Roles::default(),
        };
        check_uncommon(&Password::new(Zeroizing::new(text.to_owned())), &profile).is_ok()
    }

    #[test]
    fn refuses_what_is_guessed_first() {
        for text in [
            "password",
            "password1",
            "12345678",
            "123456789",
            "qwertyuiop",
            "iloveyou",
            "sunshine",
            "princess",
            "football",
            "P@ssw0rd",
            "trustno1",
            "aaaaaaaa",
            "abcdefgh",
            "1q2w3e4r5t",
            "changeme",
            "zxcvbnm1",
            "12341234",
            "monkey123",
        ] {
            assert!(!is_taken(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_account_is_called() {
        for text in ["annabelle", "ANNABELLE", "winterbottom", "a.winterbottom", "orchard.example", "sealjarsealjar"] {
            assert!(!is_taken(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_guessed_first_with_something_added() {
        for text in [
            "Password1!",
            "password123!!",
            "Summer2026!",
            "Sealjar1!",
            "P@ssw0rd2026!",
            "2026Password",
            "!!password!!",
            "$ummer2026",
            "1!princes$",
            "password12345678",
            "annabelle20261130",
            "Annabelle2026",
            "ANNABELLE!!",
            "winterbottom#1",
            "Password1!Password1!",
        ] {
            assert!(!is_taken(text), "{text}");
        }
    }

    #[test]
    fn refuses_long_ones_that_are_common_all_the_same() {
        let longer = |text: &str| text.repeat(100 / text.len());
        for text in [
            longer("a"),
            longer("password"),
            longer("Password1!"),
            longer("sealjar"),
            format!("password{}", " ".repeat(60)),
            format!("{}password", "!".repeat(1000)),
            "Annabelle Winterbottom".to_owned(),
            "a.winterbottom@orchard.example".to_owned(),
        ] {
            assert!(!is_taken(&text), "{text}");
        }
    }

    #[test]
    fn takes_what_is_not_common_with_something_added() {
        for text in [
            "correct horse battery 7",
            "xk3!92847162",
            "love84719265",
            "7kq!2947",
            "4x921!78",
            "9384a716",
            "gkwtyrzm1!",
            "Tr0ub4dor&3",
            &"gkwtyrzm".repeat(6),
            "correct horse battery staple is what nobody guesses",
        ] {
            assert!(is_taken(text), "{text}");
        }
    }

    #[test]
    fn no_text_has_more_combinations_than_are_tried() {
        let all: String = SUBSTITUTIONS.iter().map(|(_, symbols)| *symbols).collect();
        assert!(combinations(&all) > 1000);
        assert!(combinations(&without_symbols(&all)) <= MAX_COMBINATIONS);
        assert_eq!(&*without_symbols("P@$$w0rd(1!|"), "Passw0rdc1ii");
        for common in ["!@#$%^&*()_+", "1q2w3e4r5t6y7u8i9o0p", "P@$$w0rd!"] {
            assert!(combinations(common) <= MAX_COMBINATIONS, "{common} is looked at as it is");
        }
    }

    #[test]
    fn finds_repetitions_of_characters_of_any_length() {
        for (text, unit) in
            [("", ""), ("a", "a"), ("aaaa", "a"), ("aaa\u{e9}", "aaa\u{e9}"), ("\u{e9}a\u{e9}a", "\u{e9}a")]
        {
            assert_eq!(repeated(text), unit, "{text}");
        }
    }

    #[test]
    fn asks_for_no_kinds_of_characters() {
        for text in [
            "correct horse battery",
            "another password",
            "gkwtyrzm",
            "93847162",
            "mein Hund ist braun",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c} \u{441}\u{43e}\u{431}\u{430}\u{43a}\u{438}",
            "gkwtyrzmqv\u{e9}",
            "ein gr\u{fc}ner Caf\u{e9}",
            "gkwtyrzm \u{1f600}",
        ] {
            assert!(is_taken(text), "{text}");
        }
    }
}
