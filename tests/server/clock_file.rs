//! Simulated clocks of processes. A file contains the offset that is added to the real time, by
//! [libfaketime](https://github.com/wolfcw/libfaketime).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Returns the environment variables that add the offset in `file` to the wall clock of a process. Monotonic clocks stay correct.
pub(crate) fn wall_clock(file: &Path) -> [(&'static str, &'static OsStr); 4] {
    let [library, file, cache] = every_clock(file);
    [library, file, cache, ("DONT_FAKE_MONOTONIC", OsStr::new("1"))]
}

/// Returns the environment variables that add the offset in `file` to every clock of a process.
pub(crate) fn every_clock(file: &Path) -> [(&'static str, &'static OsStr); 3] {
    // Leaking is acceptable: a test process creates only a few of these strings.
    let leak = |path: PathBuf| -> &'static OsStr { Box::leak(path.into_os_string().into_boxed_os_str()) };
    [
        ("LD_PRELOAD", leak(library())),
        ("FAKETIME_TIMESTAMP_FILE", leak(file.to_owned())),
        ("FAKETIME_NO_CACHE", OsStr::new("1")),
    ]
}

/// Sets the clock offset of all processes that read this file. The file is replaced atomically.
pub(crate) fn write_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("writes");
    std::fs::rename(new, file).expect("renames");
}

fn library() -> PathBuf {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    let library =
        folders.iter().map(|folder| PathBuf::from(folder).join("libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("this test needs libfaketime; `make test` installs it (Debian: apt-get install faketime)")
}
