//! Refuses new passwords that are common: leaked passwords, words, names, rows of keys on the keyboard, repetitions,
//! years, and the names of the account. No mix of character types is required. This follows
//! [NIST SP 800-63B-4 section 3.1.1.2](https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver).
//!
//! The number of guesses that an attacker needs is estimated with [zxcvbn](https://docs.rs/zxcvbn).
//!
//! * Digits and punctuation that are added at the start and end of a common password do not make it acceptable. There is one
//!   exception: the password is accepted if the added characters alone are an acceptable password.
//! * The time is bounded, because this runs on the threads that hash. zxcvbn tries every combination of the letters
//!   that digits and punctuation can replace ("4" for "a"), on every part of the text, with every word of the account.
//!   This module therefore limits the number of combinations, the length of the text, and the number and length of those
//!   words.

use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

use super::super::{BadPassword, Password, Profile, normalize};

/// Minimum number of guesses that an attacker needs for an acceptable password.
const MIN_GUESSES: u64 = 10_000;
/// Maximum number of characters that are given to zxcvbn. For a longer text, zxcvbn inspects the first and the last
/// characters separately.
const MAX_ESTIMATED_CHARS: usize = 40;
/// Maximum number of combinations of substitutions that zxcvbn may try.
const MAX_COMBINATIONS: usize = 32;
/// Maximum number of the account's words that are given to zxcvbn. A password that is equal to a word is found without
/// zxcvbn, among all words.
const MAX_ACCOUNT_WORDS: usize = 8;
/// Maximum number of characters of a word that is given to zxcvbn. With longer words, integers in zxcvbn could overflow.
const MAX_ACCOUNT_WORD_CHARS: usize = 24;
/// Minimum number of characters of a word of the account. A password that consists of such a word, and of digits and
/// punctuation before or after it, is refused.
const MIN_ACCOUNT_WORD_CHARS: usize = 3;
/// Minimum number of characters of a stem (the password without added digits and punctuation) that is compared with
/// other words. Many shorter texts are in one of the lists, so random passwords would be refused.
const MIN_STEM_CHARS: usize = 4;

/// Letters, each with the symbols that zxcvbn also reads as this letter.
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

/// Checks that a new password of this account is not common.
///
/// # Errors
/// [`BadPassword::Common`] if it is common.
pub(crate) fn check_uncommon(password: &Password, profile: &Profile) -> Result<(), BadPassword> {
    if AccountWords::of(profile).is_common(password.expose_text()) { Err(BadPassword::Common) } else { Ok(()) }
}

/// Words that an attacker tries for a known account: its names, their parts, and the name of this program.
struct AccountWords(Vec<String>);

impl AccountWords {
    /// Collects the words of an account.
    fn of(profile: &Profile) -> Self {
        let name = profile.display_name.as_str();
        let email = profile.email.as_str();
        let mut words = vec!["sealjar", profile.login_name.as_str(), name, email];
        words.extend(email.split('@').chain(name.split_whitespace()));
        words.retain(|word| word.chars().count() >= MIN_ACCOUNT_WORD_CHARS);
        Self(words.into_iter().map(|word| normalize(word).to_lowercase()).collect())
    }

    /// Returns whether the text is common, with or without digits and punctuation at its ends.
    fn is_common(&self, text: &str) -> bool {
        if self.is_common_unchanged(text) {
            return true;
        }
        // Remove the added characters. If the text is a repetition, only its repeated unit is inspected.
        let is_added = |c: char| !c.is_alphabetic();
        let unit = repeated_unit(text);
        let without_end = unit.trim_end_matches(is_added);
        let without_start = unit.trim_start_matches(is_added);
        let stem = without_end.trim_start_matches(is_added);
        if stem.is_empty() {
            return false;
        }
        // The exception: the added characters alone are an acceptable password.
        let start = &unit[..unit.len() - without_start.len()];
        let added = Password::new(format!("{start}{}", &unit[without_end.len()..]).into());
        if added.check_new().is_ok() && !self.is_common_unchanged(added.expose_text()) {
            return false;
        }
        // A symbol at one end can replace a letter, as in "$ummer1". The text is therefore also tried with only the start
        // or only the end removed.
        [stem, without_end, without_start].into_iter().any(|stem| {
            let is_long = stem.chars().count() >= MIN_STEM_CHARS;
            self.contains(stem) || (is_long && self.is_common_unchanged(stem))
        })
    }

    /// Returns whether the text is common without any change.
    fn is_common_unchanged(&self, text: &str) -> bool {
        let count = text.chars().count();
        if self.contains(text) {
            true
        } else if count <= MAX_ESTIMATED_CHARS {
            self.estimated_guesses(text) < MIN_GUESSES
        } else {
            let first: Zeroizing<String> = text.chars().take(MAX_ESTIMATED_CHARS).collect::<String>().into();
            let last: Zeroizing<String> = text.chars().skip(count - MAX_ESTIMATED_CHARS).collect::<String>().into();
            self.estimated_guesses(&first) < MIN_GUESSES && self.estimated_guesses(&last) < MIN_GUESSES
        }
    }

    /// Returns whether the text is one of the words, ignoring case.
    fn contains(&self, text: &str) -> bool {
        let text = Zeroizing::new(text.to_lowercase());
        self.0.contains(&text)
    }

    /// Returns zxcvbn's estimate of the number of guesses. The text must have at most [`MAX_ESTIMATED_CHARS`] characters.
    fn estimated_guesses(&self, text: &str) -> u64 {
        let words = self.0.iter().map(String::as_str).filter(|word| word.chars().count() <= MAX_ACCOUNT_WORD_CHARS);
        let words: Vec<&str> = words.take(MAX_ACCOUNT_WORDS).collect();
        if combinations(text) <= MAX_COMBINATIONS {
            zxcvbn(text, &words).guesses()
        } else {
            zxcvbn(&with_letters_for_symbols(text), &words).guesses()
        }
    }
}

/// Returns the shortest text of which `text` is a repetition, or `text` itself if it is not a repetition.
fn repeated_unit(text: &str) -> &str {
    // Compares bytes and not characters, because `bytes.len() - n` may be inside a character.
    let bytes = text.as_bytes();
    let is_period = |n: &usize| bytes.len().is_multiple_of(*n) && bytes[*n..] == bytes[..bytes.len() - n];
    let mut lengths = text.char_indices().map(|(index, _)| index).skip(1);
    lengths.find(is_period).map_or(text, |length| &text[..length])
}

/// Returns an upper bound of the number of combinations that zxcvbn tries. For each letter, zxcvbn selects one of its
/// symbols in the text. A symbol that can replace two letters counts twice.
fn combinations(text: &str) -> usize {
    let letters = |c: char| SUBSTITUTIONS.iter().filter(|(_, symbols)| symbols.contains(c)).count();
    let choices = |symbols: &str| symbols.chars().filter(|c| text.contains(*c)).map(letters).sum::<usize>().max(1);
    SUBSTITUTIONS.iter().map(|(_, symbols)| choices(symbols)).product()
}

/// Replaces each symbol by the first letter for which it can be used. Digits are not replaced, so that years and rows
/// of keys are recognised: all ten digits together have at most [`MAX_COMBINATIONS`] combinations.
fn with_letters_for_symbols(text: &str) -> Zeroizing<String> {
    let letter =
        |c: char| SUBSTITUTIONS.iter().find(|(_, symbols)| symbols.contains(c)).map_or(c, |(letter, _)| *letter);
    let plain = text.chars().map(|c| if c.is_ascii_digit() { c } else { letter(c) });
    Zeroizing::new(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(text: &str) -> bool {
        let profile = Profile {
            login_name: "annabelle".parse().expect("a login name"),
            display_name: "Annabelle Winterbottom".parse().expect("a display name"),
            email: "a.winterbottom@orchard.example".parse().expect("an address"),
            roles: crate::account::Roles::default(),
        };
        check_uncommon(&Password::new(Zeroizing::new(text.to_owned())), &profile).is_ok()
    }

    #[test]
    fn refuses_common_passwords() {
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
            assert!(!is_accepted(text), "{text}");
        }
    }

    #[test]
    fn refuses_the_names_of_the_account() {
        for text in ["annabelle", "ANNABELLE", "winterbottom", "a.winterbottom", "orchard.example", "sealjarsealjar"] {
            assert!(!is_accepted(text), "{text}");
        }
    }

    #[test]
    fn refuses_common_passwords_with_added_characters() {
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
            assert!(!is_accepted(text), "{text}");
        }
    }

    #[test]
    fn refuses_long_passwords_that_are_common() {
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
            assert!(!is_accepted(&text), "{text}");
        }
    }

    #[test]
    fn accepts_uncommon_passwords_with_added_characters() {
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
            assert!(is_accepted(text), "{text}");
        }
    }

    #[test]
    fn no_text_has_more_than_the_maximum_of_combinations() {
        let all_symbols: String = SUBSTITUTIONS.iter().map(|(_, symbols)| *symbols).collect();
        assert!(combinations(&all_symbols) > 1000);
        assert!(combinations(&with_letters_for_symbols(&all_symbols)) <= MAX_COMBINATIONS);
        assert_eq!(&*with_letters_for_symbols("P@$$w0rd(1!|"), "Passw0rdc1ii");
        for common in ["!@#$%^&*()_+", "1q2w3e4r5t6y7u8i9o0p", "P@$$w0rd!"] {
            assert!(combinations(common) <= MAX_COMBINATIONS, "{common} is not changed");
        }
    }

    #[test]
    fn finds_repetitions_of_characters_of_any_size() {
        for (text, unit) in
            [("", ""), ("a", "a"), ("aaaa", "a"), ("aaa\u{e9}", "aaa\u{e9}"), ("\u{e9}a\u{e9}a", "\u{e9}a")]
        {
            assert_eq!(repeated_unit(text), unit, "{text}");
        }
    }

    #[test]
    fn requires_no_mix_of_character_types() {
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
            assert!(is_accepted(text), "{text}");
        }
    }
}
