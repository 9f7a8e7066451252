//! New passwords of accounts: typed on a terminal, read from standard input, or generated.

use std::io::{self, IsTerminal};

use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::account::password;
use crate::account::{Password, Profile};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::id;

/// Maximum length of the line on standard input, in bytes. It exceeds the limit of a password,
/// because Unicode normalisation may shorten a text, to a third at most.
const MAX_LINE: usize = 4 * Password::MAX_BYTES;
/// Characters of generated passwords: letters and digits that people do not confuse when they read or type them.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Length of generated passwords: 118 bits.
const GENERATED: usize = 24;

/// Asks the user twice on a terminal, or else reads one line from standard input. Then checks the rules for new passwords.
pub(super) fn new(profile: &Profile) -> Result<Password, CliError> {
    let text = if io::stdin().is_terminal() { ask(profile)? } else { read_line()? };
    let password = Password::new(text);
    let check = password.check_new().and_then(|()| password::check_uncommon(&password, profile));
    check.map_err(|rule| unchanged(rule.rule()))?;
    Ok(password)
}

/// Generates a random password.
pub(super) fn generate() -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(GENERATED));
    while text.len() < GENERATED {
        let [byte] = id::random();
        // Five bits have 32 values. The value without a character is drawn again, so that each character is equally likely.
        if let Some(character) = ALPHABET.get(usize::from(byte & 31)) {
            text.push(char::from(*character));
        }
    }
    text
}

/// Returns the error for a password that is refused.
fn unchanged(why: &str) -> CliError {
    CliError::failed(format!("{why}; nothing was changed"))
}

fn ask(profile: &Profile) -> Result<Zeroizing<String>, CliError> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => not_utf8(),
            _ => CliError::io(format!("cannot read the password: {error}")),
        })
    };
    let first = ask(format!("new password for {}: ", profile.login_name))?;
    if first == ask("again: ".to_owned())? { Ok(first) } else { Err(unchanged("the two passwords differ")) }
}

fn not_utf8() -> CliError {
    unchanged("the password is not valid UTF-8")
}

/// Reads standard input until it has a newline, and at most [`MAX_LINE`] bytes.
fn read_line() -> Result<Zeroizing<String>, CliError> {
    // The buffer has its full length from the beginning: if it grew, parts of the secret would remain in freed memory.
    let mut bytes = Zeroizing::new(vec![0; MAX_LINE]);
    let mut length = 0;
    while length < MAX_LINE && !bytes[..length].contains(&b'\n') {
        match rustix::io::read(io::stdin(), &mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(CliError::io(format!("cannot read the password: {error}"))),
        }
    }
    line(&bytes[..length])
}

/// Returns the password from the input, which must be one line. Further lines may contain only white space.
fn line(input: &[u8]) -> Result<Zeroizing<String>, CliError> {
    // Some editors on Windows write a byte order mark at the beginning. It is not part of the password.
    let input = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
    if input.is_empty() {
        let failure = unchanged("standard input is empty, so there is no password");
        return Err(failure.hint("pass it as one line, or use --generate"));
    }
    let end = input.iter().position(|byte| *byte == b'\n');
    let (line, rest) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 1..]));
    if end.is_none() && input.len() >= MAX_LINE - 3 {
        return Err(unchanged("a password has at most 1024 bytes"));
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = str::from_utf8(line).map_err(|_| not_utf8())?;
    if !rest.trim_ascii().is_empty() {
        let failure = unchanged("standard input has more than one line");
        return Err(failure.hint("pass the password as one line; only a terminal asks for it twice"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Installs a panic hook that prints only the place of a panic. The message is left out, because it may quote a password: slicing
/// a text at a wrong index, for example, quotes the text.
pub(super) fn hide_text_of_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        errln!(
            "internal error: panic at {place}; the message is not shown, because it may contain the password; report this as a bug"
        );
    }));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn accepts_one_line_from_every_editor() {
        for input in ["pass word", "pass word\n", "pass word\r\n", "\u{feff}pass word\r\n", "pass word\n\n \n"] {
            assert_eq!(
                line(input.as_bytes()).map(|line| line.to_string()).ok().as_deref(),
                Some("pass word"),
                "{input:?}"
            );
        }
        assert_eq!(line(b"\n").map(|line| line.to_string()).ok().as_deref(), Some(""), "an empty line is too short");
        let longest = "x".repeat(MAX_LINE - 4);
        assert!(line(longest.as_bytes()).is_ok());
    }

    #[test]
    fn refuses_input_that_is_not_one_line_of_text() {
        let bom = "\u{feff}";
        let long = "x".repeat(MAX_LINE);
        let utf16 = [0xff, 0xfe, b'p', 0, b'\n', 0];
        for (input, expected) in [
            (&b""[..], "is empty"),
            (bom.as_bytes(), "is empty"),
            (long.as_bytes(), "at most 1024 bytes"),
            (b"one password\nanother one\n", "more than one line"),
            (b"caf\xe9 au lait\n", "not valid UTF-8"),
            (&utf16, "not valid UTF-8"),
        ] {
            let message = line(input).err().map(|failure| failure.text()).unwrap_or_default();
            assert!(message.contains(expected) && message.contains("nothing was changed"), "{message}");
        }
    }

    #[test]
    fn generated_passwords_are_long_and_all_different() {
        let passwords: BTreeSet<String> = (0..1_000).map(|_| generate().to_string()).collect();
        assert_eq!(passwords.len(), 1_000);
        assert!(
            passwords.iter().all(|text| text.len() == GENERATED && text.bytes().all(|byte| ALPHABET.contains(&byte)))
        );
        let used: BTreeSet<u8> = passwords.iter().flat_map(|text| text.bytes()).collect();
        assert_eq!(used.len(), ALPHABET.len(), "every character occurs");
    }
}
