//! The clocks that a process sees, moved by libfaketime as a file says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The variables under which a process sees the wall clock moved as `file` says. The clocks that measure spans stay true.
pub(crate) fn wall_clock(file: &Path) -> [(&'static str, &'static OsStr); 4] {
    let [library, file, cache] = every_clock(file);
    [library, file, cache, ("DONT_FAKE_MONOTONIC", OsStr::new("1"))]
}

/// The variables under which a process sees every clock moved as `file` says.
pub(crate) fn every_clock(file: &Path) -> [(&'static str, &'static OsStr); 3] {
    // Variables live as long as the process that is started with them; a test's few strings may live as long as the test.
    let leak = |path: PathBuf| -> &'static OsStr { Box::leak(path.into_os_string().into_boxed_os_str()) };
    [
        ("LD_PRELOAD", leak(library())),
        ("FAKETIME_TIMESTAMP_FILE", leak(file.to_owned())),
        ("FAKETIME_NO_CACHE", OsStr::new("1")),
    ]
}

/// Moves the clocks of the processes that see this file, which changes at once as a whole.
pub(crate) fn write_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("writes");
    std::fs::rename(new, file).expect("renames");
}

fn library() -> PathBuf {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    let found =
        folders.iter().map(|folder| PathBuf::from(folder).join("libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("this test needs libfaketime; `make test` installs it (Debian: apt-get install faketime)")
}
