//! "Keys are handled with care": who can read or change them, and whether they are changed now and then.

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

/// A key that has sealed for longer is due for a successor, which costs nobody a session.
const OLD: Duration = Duration::from_secs(90 * 24 * 3600);
/// `keys rotate --wait` gives a key its date within minutes.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
/// Nobody waits so long for a key on purpose.
const FAR: Duration = Duration::from_secs(30 * 24 * 3600);
/// A scheduled rotation may be so late: it is looked at once a minute, and a server may have been stopped over a weekend.
const LATE: Duration = Duration::from_secs(3 * 24 * 3600);

/// Returns the ring of those keys that can be read, if there are any.
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
                    KeyFileError::Io(error) if let Some(denied) = AccessDenied::of(error) => {
                        format!("key file {}: {}", path.display(), denied.found)
                    }
                    _ => RingError::KeyFile { path, reason }.to_string(),
                };
                report.problem("keys.files", format!("{found}; so the whole ring is refused"), remedy);
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
    report.ok_otherwise("keys.files", format!("{files}, which nobody reads but its owner and its group"));
    let ring = KeyRing::new(keys);
    check_ring(config, &ring, now, report);
    Some(ring)
}

fn report_unreadable(directory: &Path, error: RingError, report: &mut Report) {
    if let RingError::Directory { source, .. } = &error
        && let Some(denied) = AccessDenied::of(source)
    {
        let found = format!("cannot read the key directory {}: {}", directory.display(), denied.found);
        report.problem("keys.files", found, &*denied.remedy);
    } else {
        report.failure(
            "keys.files",
            error.into(),
            "run doctor as the server's user, to whom the directory must belong",
        );
    }
}

fn check_directory(directory: &Path, report: &mut Report) {
    const CHECK: &str = "keys.directory";
    let (shown, read_only) = (directory.display(), files::is_mounted_read_only(directory));
    let mode = files::mode(directory).unwrap_or_default();
    let close = format!("chmod 700 {}", shell_path(directory));
    if let Err(RingError::WritableDirectory { .. }) = check_open(directory) {
        let found = format!("{shown} has mode {mode:04o}, so others can put keys there, and the whole ring is refused");
        report.problem(CHECK, found, close);
    } else if mode & OTHERS != 0 && !read_only {
        report.warning(CHECK, format!("{shown} has mode {mode:04o}, so others can see which keys there are"), close);
    }
    if let Some(owner) = files::strange_owner(directory) {
        let remedy = format!(
            "chown it to the server's user, and run doctor as that user: chown -R sealjar {}",
            shell_path(directory)
        );
        report.problem(CHECK, format!("{shown} belongs to the user {owner}, who can put keys there"), remedy);
    }
    if let Some(above) = files::open_directory_above(directory) {
        let remedy = format!("chmod o-w {}", shell_path(&above));
        report.problem(
            CHECK,
            format!("others can put another in the place of {shown}, in {}", above.display()),
            remedy,
        );
    }
    report.ok_otherwise(CHECK, format!("{shown} has mode {mode:04o}, and only its owner can change what is there"));
}

/// Keys under names that the ring passes over: backups, and what a write left behind that was interrupted.
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
            let found = format!("{} is a copy of the key {}, which outlives it", path.display(), key.kid());
            report.warning(CHECK, found, format!("rm {}", shell_path(&path)));
        }
    }
    report.ok_otherwise(CHECK, "no copies under other names");
}

fn remedy(path: &Path, reason: &KeyFileError) -> String {
    match reason {
        KeyFileError::TooPermissive { .. } => format!("chmod 600 {}", shell_path(path)),
        KeyFileError::WrongName { expected } => {
            format!("if there is no {expected}.key, give it that name; else: rm {}", shell_path(path))
        }
        KeyFileError::UntrustedOwner { trusted, .. } => {
            format!("if it is the key as you made it: chown {trusted} {}", shell_path(path))
        }
        KeyFileError::WritableDirectory { directory, .. } => format!("chmod go-w {}", shell_path(directory)),
        KeyFileError::UntrustedDirectoryOwner { directory, trusted, .. } => {
            format!("if it is meant to hold keys: chown {trusted} {}", shell_path(directory))
        }
        KeyFileError::Io(error) if let Some(denied) = AccessDenied::of(error) => denied.remedy.clone(),
        KeyFileError::Io(_) => "run doctor as the server's user, to whom the file must belong".to_owned(),
        _ => "put the file back as it was, or take it away; sessions of a key that is gone are over".to_owned(),
    }
}

fn check_ring(config: &Config, ring: &KeyRing, now: UnixTime, report: &mut Report) {
    let of = |state: KeyState| ring.keys().iter().filter(move |key| ring.state(key, now) == state);
    match ring.sealing_key(now) {
        None => {
            report.problem(
                "keys.active",
                "no key seals, so nobody can sign in",
                "sealjar keys rotate --activate-in 0s",
            );
        }
        Some(key) => check_active(config, key, now, report),
    }
    for key in of(KeyState::Published) {
        let left_behind = "sealjar keys rotate --wait, which takes it up; or sealjar keys revoke";
        match key.dates().activates_at {
            None if now.since(key.dates().created_at) > LEFT_BEHIND => {
                let found = format!("{} was published at {} and never given a date", key.kid(), key.dates().created_at);
                report.warning("keys.published", found, format!("{left_behind} {}", key.kid()));
            }
            Some(instant) if instant.since(now) > FAR => {
                let remedy = format!("sealjar keys revoke {}, then sealjar keys rotate", key.kid());
                report.warning("keys.published", format!("{} seals only from {instant} on", key.kid()), remedy);
            }
            _ => {}
        }
    }
    report.ok_otherwise("keys.published", format!("{} that will seal", count(of(KeyState::Published).count(), "key")));
    for key in ring.keys() {
        if ring.needed_until(key, now).is_some_and(|instant| instant < now) {
            let found = format!("no live session can need {} ({})", key.kid(), ring.state(key, now).name());
            report.warning("keys.retired", found, "sealjar keys prune");
        }
    }
    let counts = (of(KeyState::Retired).count(), of(KeyState::Revoked).count());
    report.ok_otherwise("keys.retired", format!("{} retired, {} revoked, and kept as yet", counts.0, counts.1));
}

fn check_active(config: &Config, key: &Key, now: UnixTime, report: &mut Report) {
    let (kid, dates) = (key.kid(), key.dates());
    // The first key activates before it is made, so that it seals at once by the slowest clock.
    let since = dates.activates_at.unwrap_or(dates.created_at).max(dates.created_at);
    report.ok("keys.active", format!("{kid} seals since {since}"));
    let (every, age) = (config.keys.rotate_every.0, now.since(since));
    let days = count((age.as_secs() / 86_400) as usize, "day");
    if every.is_zero() && age > OLD {
        let remedy = "sealjar keys rotate, which signs nobody out; or set keys.rotate_every, such as 30d";
        report.warning("keys.age", format!("the active key is {days} old"), remedy);
    } else if !every.is_zero() && age > every.saturating_add(config.keys.activate_after.0).saturating_add(LATE) {
        let found = format!("the active key is {days} old, in spite of keys.rotate_every");
        report.warning("keys.age", found, "the server's log says why it does not rotate; by hand: sealjar keys rotate");
    } else {
        report.ok("keys.age", format!("the active key is {days} old"));
    }
    if !every.is_zero() && access(&config.keys.dir, Access::WRITE_OK).is_err() {
        let remedy = "make the directory writable for the server's user, or set keys.rotate_every = \"0s\"";
        report.problem("keys.rotation", "keys.rotate_every is set, and the directory cannot be written", remedy);
    } else if !every.is_zero() {
        report.ok("keys.rotation", format!("a new key every {}", config.keys.rotate_every));
    }
    let capped = dates.max_lifetime;
    let longest = config.session.absolute.0.max(config.session.remembered_absolute.0);
    if capped < longest {
        let found = format!(
            "the active key lets no session live for longer than {} s, the settings allow {} s",
            capped.as_secs(),
            longest.as_secs()
        );
        report.warning("keys.lifetime", found, "sealjar keys rotate makes a key for the settings as they are");
    } else {
        report.ok("keys.lifetime", "the active key allows sessions as long as the settings do");
    }
}

/// The latest date at which a key was made or revoked, if that is in what this clock calls the future.
pub(super) fn latest_date(ring: &KeyRing, now: UnixTime) -> Option<UnixTime> {
    let made = ring.keys().iter().flat_map(|key| [Some(key.dates().created_at), key.dates().revoked_at]).flatten();
    made.max().filter(|latest| *latest > now.plus(CLOCK_SKEW))
}
