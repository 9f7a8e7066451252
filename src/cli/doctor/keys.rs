//! Checks of the key directory: which users can read or change the keys, whether all files are valid, and whether keys are
//! rotated. This is the promise "Keys are handled with care" of docs/security/promises.md.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};

use super::files::{self, OTHERS};
use super::report::{Report, count};
use crate::access_denied::{AccessDenied, shell_path};
use crate::bounded_file;
use crate::cli::error::CliError;
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::config::Config;
use crate::keyring::error::{KeyFileError, MAX_FILE_BYTES, RingError};
use crate::keyring::file::{parse, read_each};
use crate::keyring::permissions::check_directory as check_open;
use crate::keyring::{Key, KeyRing, KeyState};

/// Maximum age of the active key without a warning. A rotation ends no session.
const MAX_KEY_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Maximum age of a published key without an activation date. `keys rotate --wait` gives a key its date within minutes.
const MAX_AGE_WITHOUT_DATE: Duration = Duration::from_secs(3600);
/// Maximum time until a published key becomes active without a warning. A longer time is probably a mistake.
const MAX_TIME_TO_ACTIVATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum delay of a scheduled rotation without a warning. The schedule is checked once a minute, and the server may have been
/// stopped over a weekend.
const MAX_ROTATION_DELAY: Duration = Duration::from_secs(3 * 24 * 3600);

/// Runs the checks. Returns a ring of the keys that can be read, or `None` if there is none.
pub(super) fn check(config: &Config, now: UnixTime, report: &mut Report) -> Option<KeyRing> {
    let directory = &config.keys.dir;
    let files = match read_each(directory) {
        Ok(files) => files,
        Err(error) => {
            report_unreadable(directory, error, report);
            return None;
        }
    };
    check_directory(directory, report);
    check_copies(directory, report);
    let mut keys = Vec::new();
    let no_file = files.is_empty();
    for (path, key) in files {
        match key {
            Ok(key) => keys.push(key),
            Err(reason) => {
                let remedy = remedy(&path, &reason);
                let found = match &reason {
                    KeyFileError::Io(error) if let Some(denied) = AccessDenied::find_in(error) => {
                        format!("key file {}: {}", path.display(), denied.description)
                    }
                    _ => RingError::KeyFile { path, reason }.to_string(),
                };
                report.problem(
                    "keys.files",
                    format!("{found}; so the server refuses all keys of the directory"),
                    remedy,
                );
            }
        }
    }
    if no_file {
        let empty = RingError::Empty { directory: directory.clone() };
        report.failure("keys.active", CliError::from(empty), "sealjar keys init");
    }
    if keys.is_empty() {
        return None;
    }
    let files = count(keys.len(), "key");
    report.ok_otherwise("keys.files", format!("{files}, readable only for the owner and the group"));
    let ring = KeyRing::new(keys);
    check_ring(config, &ring, now, report);
    Some(ring)
}

fn report_unreadable(directory: &Path, error: RingError, report: &mut Report) {
    if let RingError::Directory { source, .. } = &error
        && let Some(denied) = AccessDenied::find_in(source)
    {
        let found = format!("cannot read the key directory {}: {}", directory.display(), denied.description);
        report.problem("keys.files", found, &*denied.remedy);
    } else {
        report.failure("keys.files", error.into(), "run doctor as the server's user, which must own the directory");
    }
}

fn check_directory(directory: &Path, report: &mut Report) {
    const CHECK: &str = "keys.directory";
    let shown = directory.display();
    let is_read_only = files::is_mounted_read_only(directory);
    let mode = files::mode(directory).unwrap_or_default();
    let remedy = format!("chmod 700 {}", shell_path(directory));
    if let Err(RingError::WritableDirectory { .. }) = check_open(directory) {
        let found = format!(
            "{shown} has mode {mode:04o}, so other users can add keys, and the server refuses all keys of the directory"
        );
        report.problem(CHECK, found, remedy);
    } else if mode & OTHERS != 0 && !is_read_only {
        report.warning(CHECK, format!("{shown} has mode {mode:04o}, so other users can list the keys"), remedy);
    }
    if let Some(owner) = files::foreign_owner(directory) {
        let remedy = format!(
            "give the directory to the server's user, and run doctor as that user: chown -R sealjar {}",
            shell_path(directory)
        );
        report.problem(CHECK, format!("{shown} belongs to the user {owner}, who can add keys"), remedy);
    }
    if let Some(above) = files::open_directory_above(directory) {
        let remedy = format!("chmod o-w {}", shell_path(&above));
        report.problem(
            CHECK,
            format!("other users can replace {shown}, because they can write to {}", above.display()),
            remedy,
        );
    }
    report.ok_otherwise(CHECK, format!("{shown} has mode {mode:04o}, and only its owner can change its files"));
}

/// Reports keys in files that the ring ignores because of their names: backups, and files of an interrupted write.
fn check_copies(directory: &Path, report: &mut Report) {
    const CHECK: &str = "keys.copies";
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_the_ring = name.ends_with(".key") && !name.starts_with('.');
        if in_the_ring || !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let text = bounded_file::read(&path, MAX_FILE_BYTES).unwrap_or_default();
        if let Ok(key) = parse(str::from_utf8(&text).unwrap_or_default()) {
            let found =
                format!("{} is a copy of the key {}, and remains when the key is removed", path.display(), key.kid());
            report.warning(CHECK, found, format!("rm {}", shell_path(&path)));
        }
    }
    report.ok_otherwise(CHECK, "no copies under other names");
}

/// Returns the remedy for a key file that the ring refuses.
fn remedy(path: &Path, reason: &KeyFileError) -> String {
    match reason {
        KeyFileError::TooPermissive { .. } => format!("chmod 600 {}", shell_path(path)),
        KeyFileError::WrongName { expected } => {
            format!("if there is no {expected}.key, rename the file to it; otherwise: rm {}", shell_path(path))
        }
        KeyFileError::UntrustedOwner { trusted, .. } => {
            format!("if you created this key: chown {trusted} {}", shell_path(path))
        }
        KeyFileError::WritableDirectory { directory, .. } => format!("chmod go-w {}", shell_path(directory)),
        KeyFileError::UntrustedDirectoryOwner { directory, trusted, .. } => {
            format!("if this is the intended key directory: chown {trusted} {}", shell_path(directory))
        }
        KeyFileError::Io(error) if let Some(denied) = AccessDenied::find_in(error) => denied.remedy.clone(),
        KeyFileError::Io(_) => "run doctor as the server's user, which must own the file".to_owned(),
        _ => "restore the file from a backup, or remove it; sessions of a removed key end".to_owned(),
    }
}

fn check_ring(config: &Config, ring: &KeyRing, now: UnixTime, report: &mut Report) {
    let in_state = |state: KeyState| ring.keys().iter().filter(move |key| ring.state(key, now) == state);
    match ring.sealing_key(now) {
        None => {
            report.problem(
                "keys.active",
                "no key seals, so no user can log in",
                "sealjar keys rotate --activate-in 0s",
            );
        }
        Some(key) => check_active(config, key, now, report),
    }
    for key in in_state(KeyState::Published) {
        let remedy = "activate it with: sealjar keys rotate --wait; or remove it with: sealjar keys revoke";
        match key.dates().activates_at {
            None if now.since(key.dates().created_at) > MAX_AGE_WITHOUT_DATE => {
                let found =
                    format!("{} was published at {} and has no activation date", key.kid(), key.dates().created_at);
                report.warning("keys.published", found, format!("{remedy} {}", key.kid()));
            }
            Some(instant) if instant.since(now) > MAX_TIME_TO_ACTIVATION => {
                let remedy = format!("sealjar keys revoke {}, then sealjar keys rotate", key.kid());
                report.warning("keys.published", format!("{} will not seal before {instant}", key.kid()), remedy);
            }
            _ => {}
        }
    }
    report.ok_otherwise(
        "keys.published",
        format!("{} waiting for activation", count(in_state(KeyState::Published).count(), "key")),
    );
    for key in ring.keys() {
        if ring.needed_until(key, now).is_some_and(|instant| instant < now) {
            let found = format!("no live session can need {} ({})", key.kid(), ring.state(key, now).name());
            report.warning("keys.retired", found, "sealjar keys prune");
        }
    }
    let retired = in_state(KeyState::Retired).count();
    let revoked = in_state(KeyState::Revoked).count();
    report.ok_otherwise("keys.retired", format!("{retired} retired, {revoked} revoked, and still needed"));
}

fn check_active(config: &Config, key: &Key, now: UnixTime, report: &mut Report) {
    let kid = key.kid();
    let dates = key.dates();
    // The activation time of the first key is before its creation, so that nodes with slow clocks also use it at once.
    let since = dates.activates_at.unwrap_or(dates.created_at).max(dates.created_at);
    report.ok("keys.active", format!("{kid} has sealed since {since}"));
    let every = config.keys.rotate_every.0;
    let age = now.since(since);
    let days = count((age.as_secs() / 86_400) as usize, "day");
    if every.is_zero() && age > MAX_KEY_AGE {
        let remedy = "sealjar keys rotate, which ends no session; or set keys.rotate_every, such as 30d";
        report.warning("keys.age", format!("the active key is {days} old"), remedy);
    } else if !every.is_zero()
        && age > every.saturating_add(config.keys.activate_after.0).saturating_add(MAX_ROTATION_DELAY)
    {
        let found = format!("the active key is {days} old, although keys.rotate_every is set");
        report.warning(
            "keys.age",
            found,
            "see in the server's log why it does not rotate; to rotate by hand: sealjar keys rotate",
        );
    } else {
        report.ok("keys.age", format!("the active key is {days} old"));
    }
    if !every.is_zero() && access(&config.keys.dir, Access::WRITE_OK).is_err() {
        let remedy = "make the directory writable for the server's user, or set keys.rotate_every = \"0s\"";
        report.problem("keys.rotation", "keys.rotate_every is set, but the directory is not writable", remedy);
    } else if !every.is_zero() {
        report.ok("keys.rotation", format!("a new key every {}", config.keys.rotate_every));
    }
    let max_lifetime = dates.max_lifetime;
    let longest = config.session.absolute.0.max(config.session.remembered_absolute.0);
    if max_lifetime < longest {
        let found = format!(
            "the active key allows sessions of at most {} s, and the settings allow {} s",
            max_lifetime.as_secs(),
            longest.as_secs()
        );
        report.warning("keys.lifetime", found, "create a key for the present settings: sealjar keys rotate");
    } else {
        report.ok("keys.lifetime", "the active key allows sessions as long as the settings do");
    }
}

/// Returns the latest date at which a key was created or revoked, if this date is in the future according to `now`.
pub(super) fn latest_date(ring: &KeyRing, now: UnixTime) -> Option<UnixTime> {
    let dates = ring.keys().iter().flat_map(|key| [Some(key.dates().created_at), key.dates().revoked_at]).flatten();
    dates.max().filter(|latest| *latest > now.plus(CLOCK_SKEW))
}
