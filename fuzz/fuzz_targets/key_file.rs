//! Fuzz target for key files with any text. It asserts these properties:
//!
//! * Parsing never panics.
//! * No error, and no `Debug` output of a key, contains eight consecutive characters of the secret.
//! * A parsed key is equal to the original after it was written and parsed again. It is then also written as the same text.
//!
//! Input: the text of the file. The target replaces each `@` with a valid secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealjar::keyring::file::{parse, render};

/// Secret that is inserted into the text: 32 bytes in base64url.
const SECRET: &str = "c2VhbGphciBmdXp6aW5nOiBub3QgYSBzZWNyZXQgISE";

fuzz_target!(|text: &str| {
    let text = text.replace('@', SECRET);
    match parse(&text) {
        Ok(key) => {
            let written = render(&key);
            let parsed_again = parse(&written).expect("a written key can be parsed");
            assert!(key == parsed_again, "{:?} is parsed again as {:?}", key.dates(), parsed_again.dates());
            assert_eq!(*render(&parsed_again), *written);
            assert!(!contains_secret(&format!("{key:?}")));
        }
        Err(error) => {
            assert!(!contains_secret(&error.to_string()), "{error}");
            assert!(!contains_secret(&format!("{error:?}")), "{error:?}");
            assert!(!contains_secret(&format!("{error:#?}")), "{error:#?}");
        }
    }
});

/// Whether `message` contains any eight consecutive characters of the secret.
fn contains_secret(message: &str) -> bool {
    SECRET.as_bytes().windows(8).any(|part| message.as_bytes().windows(8).any(|excerpt| excerpt == part))
}
