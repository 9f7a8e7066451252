//! The command line by transcripts: `tests/cli/*.trycmd` are what a terminal shows, `$ ` before a command, `? ` before an exit
//! code other than 0. Each file runs in an empty directory of its own (its `.out` folder asks for one). Random ids and times
//! are `[..]`; everything else is compared to the byte.
//!
//! After an intended change: `TRYCMD=overwrite cargo test --test cli`, and read the difference.

use std::env;
use std::path::Path;
use std::time::Duration;

#[test]
fn says_what_the_transcripts_say() {
    let settings: Vec<_> =
        env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SEALJAR_")).collect();
    assert!(settings.is_empty(), "the transcripts are of an environment without settings; unset {settings:?}");

    // `sh` runs what needs standard input, and finds the binary under test by its name.
    let binary = Path::new(env!("CARGO_BIN_EXE_sealjar"));
    let directory = binary.parent().expect("a binary is in a directory");
    let path = format!("{}:{}", directory.display(), env::var("PATH").expect("there is a PATH"));
    trycmd::TestCases::new()
        .register_bin("sealjar", binary)
        .register_bin("sh", Path::new("/bin/sh"))
        .env("PATH", path)
        .env("COLUMNS", "100")
        // A server that starts where it should have refused to is an error, and not a test that never ends.
        .timeout(Duration::from_secs(60))
        .case("tests/cli/*.trycmd");
}
