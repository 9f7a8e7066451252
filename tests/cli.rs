//! Tests of the command line with transcripts of a terminal, `tests/cli/*.trycmd`.
//!
//! A line with `$ ` is a command, and a line with `? ` is its exit code, if it is not 0. The commands of each file run in a
//! separate empty directory, because the file has an `.out` directory next to it. `[..]` stands for a random id or a time. Every
//! other byte of the output is compared.
//!
//! After an intended change, run `TRYCMD=overwrite cargo test --test cli` and check the difference.

use std::env;
use std::path::Path;
use std::time::Duration;

#[test]
fn matches_the_transcripts() {
    let settings: Vec<_> =
        env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SEALJAR_")).collect();
    assert!(settings.is_empty(), "the transcripts need an environment without settings; unset {settings:?}");

    // Commands that need standard input run in `sh`, which must find the binary under test in the PATH.
    let binary = Path::new(env!("CARGO_BIN_EXE_sealjar"));
    let directory = binary.parent().expect("a binary is in a directory");
    let path = format!("{}:{}", directory.display(), env::var("PATH").expect("PATH is set"));
    trycmd::TestCases::new()
        .register_bin("sealjar", binary)
        .register_bin("sh", Path::new("/bin/sh"))
        .env("PATH", path)
        .env("COLUMNS", "100")
        // If a server starts although it must refuse to start, the test fails after this time.
        .timeout(Duration::from_secs(60))
        .case("tests/cli/*.trycmd");
}
