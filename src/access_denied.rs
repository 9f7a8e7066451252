//! Explanations for "Permission denied": which file or directory denies the access, and what the operator can do.
//!
//! The error of the operating system does not contain the directory on the path that denies the access, its owner and
//! mode, or the user of this process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path};

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Error for access that was denied by the mode of a file or of one of its parent directories.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {found}; {remedy}")]
pub(crate) struct AccessDenied {
    source: io::Error,
    /// Sentence with the mode and owner of the file or directory, and the user of this process.
    pub(crate) found: String,
    /// Command or action that solves the problem.
    pub(crate) remedy: String,
}

impl AccessDenied {
    /// Returns the explanation inside an error of [`explain`], or `None` if the error contains no explanation.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Adds an [`AccessDenied`] to `error` if this process does not have the `wanted` access to `path`. Otherwise returns `error`
/// unchanged.
pub(crate) fn explain(path: &Path, wanted: Access, error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(Errno::ACCESS.raw_os_error()) {
        return error;
    }
    // Finds the longest part of the path whose metadata can be read. This process can search every directory above that part,
    // so that part denies the access.
    let non_empty = |part: &Path| if part.as_os_str().is_empty() { Path::new(".").to_owned() } else { part.to_owned() };
    let readable = path.ancestors().map(non_empty).find_map(|part| Some((fs::metadata(&part).ok()?, part)));
    let Some((metadata, denying_path)) = readable else {
        return error;
    };
    let is_parent = denying_path != path;
    if access(&denying_path, if is_parent { Access::EXEC_OK } else { wanted }).is_ok() {
        return error;
    }
    let path_text = denying_path.display();
    let uid = metadata.uid();
    let own_uid = rustix::process::geteuid().as_raw();
    let owner = if uid == 0 { "root".to_owned() } else { format!("the user {uid} or root") };
    let quoted_path = shell_path(&denying_path);
    // The remedy contains no command if the file belongs to another user, because the path may be a system directory that
    // was entered by mistake.
    let remedy = match (is_parent, uid == own_uid) {
        (true, true) => format!("run: chmod u+x {quoted_path}"),
        (false, true) if metadata.is_dir() => format!("run: chmod u+rwx {quoted_path}"),
        (false, true) => format!("run: chmod u+rw {quoted_path}"),
        (true, false) => format!("run this as {owner}, or let the user {own_uid} enter that directory"),
        (false, false) => {
            format!("run this as {owner}; or, if it is meant for the user {own_uid}, give it to that user")
        }
    };
    let mode = metadata.mode() & 0o7777;
    let found = format!(
        "{path_text} has mode {mode:04o} and belongs to the user {uid}, and this process runs as the user {own_uid}"
    );
    io::Error::new(error.kind(), AccessDenied { source: error, found, remedy })
}

/// Returns a path for a command that the operator pastes into a shell. It is absolute, because the shell may be in another
/// directory than this process, and quoted if it contains special characters.
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
        let current = std::env::current_dir().expect("a directory");
        for (path, expected) in [
            ("/var/lib/sealjar/keys", "/var/lib/sealjar/keys"),
            ("/my keys", "'/my keys'"),
            ("/$(id)/it's", r"'/$(id)/it'\''s'"),
            ("keys", &shell_path(&current.join("keys"))),
            ("/~", "'/~'"),
        ] {
            assert_eq!(shell_path(Path::new(path)), expected);
        }
    }
}
