//! New passwords are held against the guesses that are made first (NIST SP 800-63B section 3.1.1.2): lists of leaked passwords, words,
//! names, rows of keys, repetitions and years, and what the account itself is called. No rule says of which characters a password
//! is to consist.

use zxcvbn::zxcvbn;

use super::super::{BadField, Password, Profile};

/// A password within so many of the first guesses is refused.
const FIRST_GUESSES: u64 = 10_000;
/// No list has longer ones, and looking at them would take long.
const MAX_LOOKED_AT: usize = 40;

/// Whether the password of this account would be guessed soon. Takes up to a tenth of a second for the strangest of texts.
///
/// # Errors
/// [`BadField`] if it would.
pub(crate) fn check_uncommon(password: &Password, profile: &Profile) -> Result<(), BadField> {
    let text = str::from_utf8(password.expose()).unwrap_or_default();
    if text.chars().count() > MAX_LOOKED_AT {
        return Ok(());
    }
    let (name, email) = (profile.display_name.as_str(), profile.email.as_str());
    let mut about = vec!["sealjar", profile.login_name.as_str(), name, email];
    about.extend(name.split_whitespace().chain(email.split('@')));
    about.retain(|word| !word.is_empty());
    if zxcvbn(text, &about).guesses() < FIRST_GUESSES {
        return Err(BadField(
            "this password is among the first that are guessed; choose another, such as several words",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

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
    fn asks_for_no_kinds_of_characters() {
        for text in [
            "correct horse battery",
            "another password",
            "gkwtyrzm",
            "93847162",
            "mein Hund ist braun",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c} \u{441}\u{43e}\u{431}\u{430}\u{43a}\u{438}",
            &"a".repeat(41),
        ] {
            assert!(is_taken(text), "{text}");
        }
    }
}
