//! A key file may hold any text: reading it never panics, what goes wrong is told without the secret, and a key that was read
//! survives being written and read again.
//!
//! The input is the text; `@` stands for a secret, wherever somebody may have put it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealjar::keyring::file::{parse, render};

/// 32 bytes in base64url.
const SECRET: &str = "c2VhbGphciBmdXp6aW5nOiBub3QgYSBzZWNyZXQgISE";

fuzz_target!(|text: &str| {
    let text = text.replace('@', SECRET);
    match parse(&text) {
        Ok(key) => {
            let written = render(&key);
            let again = parse(&written).expect("what was written can be read");
            assert!(key == again, "{:?} is read again as {:?}", key.dates(), again.dates());
            assert_eq!(*render(&again), *written);
            assert!(!tells_the_secret(&format!("{key:?}")));
        }
        Err(error) => {
            assert!(!tells_the_secret(&error.to_string()), "{error}");
            assert!(!tells_the_secret(&format!("{error:?}")), "{error:?}");
            assert!(!tells_the_secret(&format!("{error:#?}")), "{error:#?}");
        }
    }
});

/// Any eight characters of it in a row.
fn tells_the_secret(message: &str) -> bool {
    SECRET.as_bytes().windows(8).any(|part| message.as_bytes().windows(8).any(|seen| seen == part))
}
