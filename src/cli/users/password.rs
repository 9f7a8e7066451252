//! New passwords: asked for on a terminal, read from standard input, or generated.

use std::io::{self, IsTerminal};

use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::account::password;
use crate::account::{Password, Profile};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::id;

/// Maximum length of the line on standard input, in bytes. Normalisation may make a text shorter, to a third at most.
const MAX_LINE: usize = 4 * Password::MAX_BYTES;
/// Characters of generated passwords: those that are not confused when they are read or typed.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Length of generated passwords: 118 bits.
const GENERATED: usize = 24;

/// Asks twice on a terminal, else reads one line of standard input.
pub(super) fn new(profile: &Profile) -> Result<Password, CliError> {
    let text = if io::stdin().is_terminal() { ask(profile)? } else { read_line()? };
    let password = Password::new(text);
    let check = password.check_new().and_then(|()| password::check_uncommon(&password, profile));
    check.map_err(|rule| unchanged(rule.rule()))?;
    Ok(password)
}

/// Makes a random password.
pub(super) fn generate() -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(GENERATED));
    while text.len() < GENERATED {
        let [byte] = id::random();
        // One in 32 is drawn again, so that each character is equally likely.
        if let Some(character) = ALPHABET.get(usize::from(byte & 31)) {
            text.push(char::from(*character));
        }
    }
    text
}

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
    unchanged("the password is not text in UTF-8")
}

/// Reads to the end of the first line. No more than [`MAX_LINE`] is ever read.
fn read_line() -> Result<Zeroizing<String>, CliError> {
    // It is not moved while it fills, so that no part of a secret is left behind.
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

/// Returns the only line of an input that was read so far.
fn line(input: &[u8]) -> Result<Zeroizing<String>, CliError> {
    // Editors on Windows put a byte order mark first, which nobody can type.
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
        return Err(failure.hint("the password is one line; it is asked for twice on a terminal only"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Reports panics of the process from now on without their text: slicing a text at a wrong place, for example, quotes the text.
pub(super) fn hide_text_of_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        errln!("a bug: panicked at {place}; the text is not shown, because it may quote the password");
    }));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn takes_one_line_whatever_editor_wrote_it() {
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
    fn refuses_what_is_no_line_of_text() {
        let bom = "\u{feff}";
        let long = "x".repeat(MAX_LINE);
        let utf16 = [0xff, 0xfe, b'p', 0, b'\n', 0];
        for (input, says) in [
            (&b""[..], "is empty"),
            (bom.as_bytes(), "is empty"),
            (long.as_bytes(), "at most 1024 bytes"),
            (b"one password\nanother one\n", "more than one line"),
            (b"caf\xe9 au lait\n", "not text in UTF-8"),
            (&utf16, "not text in UTF-8"),
        ] {
            let said = line(input).err().map(|failure| failure.text()).unwrap_or_default();
            assert!(said.contains(says) && said.contains("nothing was changed"), "{said}");
        }
    }

    #[test]
    fn generated_passwords_are_long_and_all_different() {
        let made: BTreeSet<String> = (0..1_000).map(|_| generate().to_string()).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|text| text.len() == GENERATED && text.bytes().all(|byte| ALPHABET.contains(&byte))));
        let used: BTreeSet<u8> = made.iter().flat_map(|text| text.bytes()).collect();
        assert_eq!(used.len(), ALPHABET.len(), "every character occurs");
    }
}
