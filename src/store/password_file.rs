//! The password file of PostgreSQL's clients: `PGPASSFILE`, or `.pgpass` in the home directory. sqlx reads it, and leaves it out
//! without a word if it cannot be used. The connection then fails for another reason: the password is missing.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::url::without_password;

/// A password file that is not used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    pub(crate) path: PathBuf,
    /// Follows "the password file PATH is not used: ".
    pub(crate) reason: String,
}

/// Remedy.
pub(crate) const REMEDY: &str = "correct PGPASSFILE, or run chmod 600 on the file as its owner; Kubernetes gives a secret the mode 0440 \
                                 with fsGroup: use PGPASSWORD, or SEALJAR_STORE_FILE with the whole address, instead";

/// Returns the password file that would be used for the store of this address and cannot be; `None` if it can, or none is needed.
pub(crate) fn ignored(url: &str) -> Option<Ignored> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_postgres = url.starts_with("postgres");
    let has_password = without_password(url) != url || variable("PGPASSWORD").is_some();
    if !is_postgres || has_password {
        return None;
    }
    of_files(variable("PGPASSFILE"), variable("HOME"))
}

fn of_files(named: Option<OsString>, home: Option<OsString>) -> Option<Ignored> {
    let is_named = named.is_some();
    let path = named.map(PathBuf::from).or_else(|| Some(PathBuf::from(home?).join(".pgpass")))?;
    let reason = match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return None,
        Err(error) => error.to_string(),
        Ok(metadata) if !metadata.is_file() => "it is not a regular file".to_owned(),
        Ok(metadata) => match metadata.permissions().mode() & 0o777 {
            mode if mode & 0o077 != 0 => {
                format!("its mode is {mode:04o}, and only its owner may have rights: 0400 or 0600")
            }
            _ => return None,
        },
    };
    Some(Ignored { path, reason })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_that_is_missing_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(".pgpass");
        let reason = |named: Option<&PathBuf>| {
            let found = of_files(named.map(|path| path.clone().into()), Some(home.path().into()));
            found.map(|ignored| (ignored.path, ignored.reason))
        };
        assert_eq!(reason(None), None, "nobody must have such a file");
        let (_, missing) = reason(Some(&path)).expect("it is named and missing");
        assert!(missing.contains("No such file"), "{missing}");
        fs::write(&path, "*:*:*:*:secret").expect("writes");
        for (mode, is_used) in [(0o600, true), (0o400, true), (0o440, false), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changes");
            for named in [None, Some(&path)] {
                let found = reason(named);
                assert_eq!(found.is_none(), is_used, "{mode:o}");
                assert!(found.is_none_or(|(of, why)| of == path && why.contains(&format!("{mode:04o}"))));
            }
        }
        let (_, directory) = reason(Some(&home.path().to_owned())).expect("it is no file");
        assert_eq!(directory, "it is not a regular file");
    }

    #[test]
    fn a_store_that_needs_no_file_is_not_judged_by_it() {
        assert_eq!(ignored("sqlite://a.db"), None);
        assert_eq!(ignored("postgres://a:secret@b/c"), None);
    }
}
