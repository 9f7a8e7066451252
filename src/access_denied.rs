//! Explanations for "Permission denied": which file or directory denies the access, and what the operator can do.
//!
//! The error of the operating system does not say which directory of the path denies the access. It also does not contain the
//! owner and the mode of that directory, or the user of this process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path};

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Error for denied access to a file or directory, or to one of its parent directories.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {description}; {remedy}")]
pub(crate) struct AccessDenied {
    /// Original error of the operating system.
    source: io::Error,
    /// Sentence with the mode and the owner of the file or directory that denies the access, and the user of this process.
    pub(crate) description: String,
    /// Command or action with which the operator can solve the problem.
    pub(crate) remedy: String,
}

impl AccessDenied {
    /// Returns the [`AccessDenied`] inside an error from [`explain`], or `None` if `explain` returned the error unchanged.
    pub(crate) fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Wraps `error` in an [`AccessDenied`] if it is "Permission denied", and if the file or directory that denies the `wanted`
/// access to `path` is found. Otherwise returns `error` unchanged.
pub(crate) fn explain(path: &Path, wanted: Access, error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(Errno::ACCESS.raw_os_error()) {
        return error;
    }
    // Find the longest part of the path whose metadata can be read. This process can search every directory above this part.
    // So only this part can deny the access; the next step checks whether it does.
    //
    // The parent of a relative path with one component is empty. It means the current directory.
    let non_empty = |part: &Path| if part.as_os_str().is_empty() { Path::new(".").to_owned() } else { part.to_owned() };
    let longest_readable = path.ancestors().map(non_empty).find_map(|part| Some((fs::metadata(&part).ok()?, part)));
    let Some((metadata, candidate)) = longest_readable else {
        return error;
    };
    let is_parent = candidate != path;
    if access(&candidate, if is_parent { Access::EXEC_OK } else { wanted }).is_ok() {
        return error;
    }
    let displayed = candidate.display();
    let owner_uid = metadata.uid();
    let own_uid = rustix::process::geteuid().as_raw();
    let permitted_users = if owner_uid == 0 { "root".to_owned() } else { format!("the user {owner_uid} or root") };
    let quoted_path = shell_path(&candidate);
    // If the file belongs to another user, the remedy contains no command. The path may be a system directory that the
    // operator entered by mistake.
    let remedy = match (is_parent, owner_uid == own_uid) {
        (true, true) => format!("run: chmod u+x {quoted_path}"),
        (false, true) if metadata.is_dir() => format!("run: chmod u+rwx {quoted_path}"),
        (false, true) => format!("run: chmod u+rw {quoted_path}"),
        (true, false) => format!("run this as {permitted_users}, or let the user {own_uid} enter that directory"),
        (false, false) => {
            format!("run this as {permitted_users}; or, if it is meant for the user {own_uid}, give it to that user")
        }
    };
    let mode = metadata.mode() & 0o7777;
    let description = format!(
        "{displayed} has mode {mode:04o} and belongs to the user {owner_uid}, and this process runs as the user {own_uid}"
    );
    io::Error::new(error.kind(), AccessDenied { source: error, description, remedy })
}

/// Formats `path` for a command that the operator pastes into a shell. The result is absolute, because the working directory of
/// the shell may be another one than that of this process. It is quoted if it contains special characters.
pub(crate) fn shell_path(path: &Path) -> String {
    let absolute = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.display().to_string();
    let needs_no_quotes = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if text.bytes().all(needs_no_quotes) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_for_a_shell_is_absolute_and_quoted() {
        let current = std::env::current_dir().expect("the working directory exists");
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
