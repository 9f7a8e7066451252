//! The directories in which the server changes files: the directories of the database, the keys and the Unix sockets.
//! `hardening.rs` uses them as Landlock rules, which forbid writing elsewhere.

use std::fs;
use std::path::Path;

use crate::config::listen::Listen;
use crate::config::settings::Settings;
use crate::file_owner::directory_of;
use crate::hardening::{AllowedChanges, WritableDirectory};
use crate::store::url::StoreUrl;

/// Returns the directories in which a server with these settings changes files. `demo` is the directory that `sealjar serve
/// --demo` creates for its keys and its database, and removes at its end. It is `None` for other commands.
pub(crate) fn directories(settings: &Settings, demo: Option<&Path>) -> Vec<WritableDirectory> {
    let mut all = Vec::new();
    let mut add = |directory: &Path, change| all.push(WritableDirectory { directory: directory.to_owned(), change });
    if let StoreUrl::Sqlite(file) = &settings.store {
        // SQLite creates its additional files (such as the write-ahead log) next to the file itself, and not next to a
        // symbolic link.
        let real = fs::canonicalize(file);
        add(directory_of(real.as_deref().unwrap_or(file)), AllowedChanges::Files);
    }
    add(&settings.key_directory, AllowedChanges::Files);
    for listen in [&settings.listen, &settings.admin_listen] {
        if let Listen::Unix(socket) = listen {
            add(directory_of(socket), AllowedChanges::Sockets);
        }
    }
    if let Some(demo) = demo {
        add(demo, AllowedChanges::Everything);
        // The directory itself is removed at the end.
        add(directory_of(demo), AllowedChanges::EmptyDirectories);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::layers::Flag;
    use crate::config::sources::ConfigSources;

    /// Returns the directories and permitted changes for these settings.
    fn directories_of(settings: &[(&str, &str)], demo: Option<&str>) -> Vec<(String, AllowedChanges)> {
        let flag = |(setting, text): &(&str, &str)| Flag {
            flag: "--set".to_owned(),
            setting: (*setting).to_owned(),
            text: (*text).to_owned(),
        };
        let sources = ConfigSources::new(None, Vec::new(), settings.iter().map(flag).collect());
        let (layers, config) = sources.read().expect("well formed");
        let settings = config.parse(&layers).expect("valid");
        let all = directories(&settings, demo.map(Path::new));
        all.into_iter()
            .map(|WritableDirectory { directory, change }| (directory.display().to_string(), change))
            .collect()
    }

    fn expected(all: &[(&str, AllowedChanges)]) -> Vec<(String, AllowedChanges)> {
        all.iter().map(|(directory, change)| ((*directory).to_owned(), *change)).collect()
    }

    #[test]
    fn only_directories_of_database_keys_and_sockets_are_writable() {
        assert_eq!(
            directories_of(&[], None),
            expected(&[(".", AllowedChanges::Files), ("keys", AllowedChanges::Files)])
        );
        let settings = [
            ("store", "sqlite:///absent/db/sealjar.db"),
            ("keys.dir", "/absent/keys"),
            ("http.listen", "unix:/run/a/public.sock"),
            ("http.admin_listen", "unix:admin.sock"),
            ("http.public_origins", "https://app.example.com"),
            ("tls.certificate", ""),
        ];
        let all = [
            ("/absent/db", AllowedChanges::Files),
            ("/absent/keys", AllowedChanges::Files),
            ("/run/a", AllowedChanges::Sockets),
            (".", AllowedChanges::Sockets),
        ];
        assert_eq!(directories_of(&settings, None), expected(&all));
        let postgres = [("store", "postgres://sealjar@db.example.com/sealjar"), ("http.listen", "127.0.0.1:1")];
        assert_eq!(directories_of(&postgres, None), expected(&[("keys", AllowedChanges::Files)]));
    }

    #[test]
    fn a_demo_can_create_and_remove_its_directory() {
        let all = directories_of(
            &[("store", "sqlite:///tmp/demo/sealjar.db"), ("keys.dir", "/tmp/demo/keys")],
            Some("/tmp/demo"),
        );
        let last = [("/tmp/demo", AllowedChanges::Everything), ("/tmp", AllowedChanges::EmptyDirectories)];
        assert_eq!(all[2..], expected(&last));
    }

    #[test]
    fn a_linked_database_uses_the_directory_of_its_file() {
        let home = tempfile::tempdir().expect("a directory");
        let real = home.path().canonicalize().expect("it exists").join("data");
        fs::create_dir(&real).expect("a directory");
        fs::write(real.join("sealjar.db"), "").expect("written");
        let link = home.path().join("link.db");
        symlink(real.join("sealjar.db"), &link).expect("linked");
        let all = directories_of(&[("store", &format!("sqlite://{}", link.display()))], None);
        assert_eq!(all[0], (real.display().to_string(), AllowedChanges::Files));
    }
}
