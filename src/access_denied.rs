//! Explains why this process may not use a file or directory, and what to do.
//!
//! "Permission denied" alone does not say which directory on the path denies it, whose it is, or who asks.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path};

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Access to a file was denied, by its mode or by that of a directory above it.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {found}; {remedy}")]
pub(crate) struct AccessDenied {
    source: io::Error,
    /// Mode and owner, and the user of this process.
    pub(crate) found: String,
    /// The way out.
    pub(crate) remedy: String,
}

impl AccessDenied {
    /// Returns what `explain` found out about this error.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Returns an error with [`AccessDenied`] in it if `error` is because this process lacks the right of `wanted` to `path`, else
/// `error` itself.
pub(crate) fn explain(path: &Path, wanted: Access, error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(Errno::ACCESS.raw_os_error()) {
        return error;
    }
    // Every directory above the first one that can be looked at can be entered.
    let named = |place: &Path| if place.as_os_str().is_empty() { Path::new(".").to_owned() } else { place.to_owned() };
    let looked_at = path.ancestors().map(named).find_map(|place| Some((fs::metadata(&place).ok()?, place)));
    let Some((facts, place)) = looked_at else {
        return error;
    };
    let is_above = place != path;
    if access(&place, if is_above { Access::EXEC_OK } else { wanted }).is_ok() {
        return error;
    }
    let shown = place.display();
    let uid = facts.uid();
    let me = rustix::process::geteuid().as_raw();
    let owner = if uid == 0 { "root".to_owned() } else { format!("the user {uid} or root") };
    let pasted = shell_path(&place);
    // No command for what belongs to another: it may be a directory of the system, named by mistake.
    let remedy = match (is_above, uid == me) {
        (true, true) => format!("run: chmod u+x {pasted}"),
        (false, true) if facts.is_dir() => format!("run: chmod u+rwx {pasted}"),
        (false, true) => format!("run: chmod u+rw {pasted}"),
        (true, false) => format!("run this as {owner}, or let the user {me} enter that directory"),
        (false, false) => format!("run this as {owner}; or, if it is meant for the user {me}, give it to that user"),
    };
    let mode = facts.mode() & 0o7777;
    let found =
        format!("{shown} has mode {mode:04o} and belongs to the user {uid}, and this process runs as the user {me}");
    io::Error::new(error.kind(), AccessDenied { source: error, found, remedy })
}

/// Returns a path for a command that is pasted into a shell: absolute, because the reader may be in another directory than this
/// process, and quoted if need be.
pub(crate) fn shell_path(path: &Path) -> String {
    let absolute = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_for_a_shell_is_absolute_and_quoted() {
        let here = std::env::current_dir().expect("a directory");
        for (path, expected) in [
            ("/var/lib/sealjar/keys", "/var/lib/sealjar/keys"),
            ("/my keys", "'/my keys'"),
            ("/$(id)/it's", r"'/$(id)/it'\''s'"),
            ("keys", &shell_path(&here.join("keys"))),
            ("/~", "'/~'"),
        ] {
            assert_eq!(shell_path(Path::new(path)), expected);
        }
    }
}
