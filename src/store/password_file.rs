//! Check of the [password file](https://www.postgresql.org/docs/current/libpq-pgpass.html) of PostgreSQL's clients:
//! `PGPASSFILE`, or `.pgpass` in the home directory. sqlx reads this file, and ignores it without a message if it is not
//! usable. The connection then fails with an error about a missing password. This module finds the real reason.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::url::without_password;

/// A password file that sqlx ignores.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IgnoredPasswordFile {
    pub(crate) path: PathBuf,
    /// Reason, for a message "the password file PATH is not used: REASON".
    pub(crate) reason: String,
}

/// Hint for a password file that is not used.
pub(crate) const REMEDY: &str = "correct PGPASSFILE, or run chmod 600 on the file as its owner; \
     Kubernetes gives a secret the mode 0440 with fsGroup: use PGPASSWORD, \
     or SEALJAR_STORE_FILE with the whole address, instead";

/// Returns the password file for the store of this address if it is not usable. Returns `None` if the file is usable or not
/// needed.
pub(crate) fn find_ignored(url: &str) -> Option<IgnoredPasswordFile> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_postgres = url.starts_with("postgres");
    let has_password = without_password(url) != url || variable("PGPASSWORD").is_some();
    if !is_postgres || has_password {
        return None;
    }
    of_files(variable("PGPASSFILE"), variable("HOME"))
}

/// Returns the password file that these values of `PGPASSFILE` and `HOME` determine, if it is not usable. A missing
/// `.pgpass` is no problem, but a missing file of `PGPASSFILE` is one.
fn of_files(named: Option<OsString>, home: Option<OsString>) -> Option<IgnoredPasswordFile> {
    let is_named = named.is_some();
    let path = named.map(PathBuf::from).or_else(|| Some(PathBuf::from(home?).join(".pgpass")))?;
    let reason = match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return None,
        Err(error) => error.to_string(),
        Ok(metadata) if !metadata.is_file() => "it is not a regular file".to_owned(),
        Ok(metadata) => match metadata.permissions().mode() & 0o777 {
            mode if mode & 0o077 != 0 => {
                format!("its mode is {mode:04o}, and only its owner may have access: use 0400 or 0600")
            }
            _ => return None,
        },
    };
    Some(IgnoredPasswordFile { path, reason })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn finds_a_file_that_is_missing_or_that_others_can_read() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(".pgpass");
        let reason = |named: Option<&PathBuf>| {
            let ignored = of_files(named.map(|path| path.clone().into()), Some(home.path().into()));
            ignored.map(|ignored| (ignored.path, ignored.reason))
        };
        assert_eq!(reason(None), None, "a missing .pgpass is not reported");
        let (_, missing) = reason(Some(&path)).expect("a missing file of PGPASSFILE is reported");
        assert!(missing.contains("No such file"), "{missing}");
        fs::write(&path, "*:*:*:*:secret").expect("writes");
        for (mode, is_used) in [(0o600, true), (0o400, true), (0o440, false), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changes");
            for named in [None, Some(&path)] {
                let ignored = reason(named);
                assert_eq!(ignored.is_none(), is_used, "{mode:o}");
                assert!(
                    ignored.is_none_or(|(ignored, reason)| ignored == path && reason.contains(&format!("{mode:04o}")))
                );
            }
        }
        let (_, directory) = reason(Some(&home.path().to_owned())).expect("a directory is not usable");
        assert_eq!(directory, "it is not a regular file");
    }

    #[test]
    fn a_store_that_needs_no_password_file_is_not_checked() {
        assert_eq!(find_ignored("sqlite://a.db"), None);
        assert_eq!(find_ignored("postgres://a:secret@b/c"), None);
    }
}
