//! Hardening of the process: protects its memory, and limits the files that it can change.
//!
//! Keys and passwords are in memory. [`DumpProtection`] excludes them from core dumps and prevents debuggers of the
//! same user from attaching, with `PR_SET_DUMPABLE` of
//! [prctl(2)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html). [`restrict_thread`] uses
//! [Landlock](https://docs.kernel.org/userspace-api/landlock.html): an attacker who runs code in the server cannot
//! change files in other directories and cannot start programs.
//!
//! Only the `sealjar` command uses this module. An application that embeds sessions decides about its own hardening.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, make_bitflags,
};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// Newest version of Landlock whose rights are handled. Write rights of newer versions are added here after a test.
const NEWEST_ABI: ABI = ABI::V5;

/// Protection of the memory of this process.
#[derive(Debug)]
pub(crate) struct DumpProtection {
    /// Behavior before [`DumpProtection::protect`], or `None` if it is unknown.
    previous: Option<DumpableBehavior>,
}

impl DumpProtection {
    /// Disables core dumps, and prevents other processes of the same user from reading the memory and the open files of this
    /// process. The protection lasts until the process ends or [`DumpProtection::unprotect`] is called.
    pub(crate) fn protect() -> Self {
        let previous = dumpable_behavior().ok();
        // This call cannot fail on Linux. `is_dumpable` reads the result.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        Self { previous }
    }

    /// Restores the behavior before [`DumpProtection::protect`].
    pub(crate) fn unprotect(&self) {
        if let Some(previous) = self.previous {
            let _ = set_dumpable_behavior(previous);
        }
    }
}

/// Returns whether other processes of the same user can read the memory of this process.
pub(crate) fn is_dumpable() -> bool {
    !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

/// Status of Landlock for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LandlockStatus {
    /// All limits that this program requests are in force.
    Full,
    /// Only some of the limits are in force, because the kernel has an older version of Landlock.
    Partial,
    /// The kernel does not have Landlock.
    Unsupported,
    /// The kernel has Landlock, but has not applied the limits.
    Failed,
    /// Landlock is disabled in the configuration.
    Off,
}

impl LandlockStatus {
    /// Returns the name of the status in the log and in `/readyz`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Off => "off",
        }
    }
}

/// Hardening that is in force for this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardening {
    pub(crate) dumpable: bool,
    pub(crate) landlock: LandlockStatus,
}

/// Directory below which this process may change files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritableDirectory {
    pub(crate) directory: PathBuf,
    pub(crate) change: AllowedChanges,
}

/// Changes that are allowed below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllowedChanges {
    /// Files may be created, written and removed.
    Files,
    /// Sockets may be created and removed.
    Sockets,
    /// Files and directories may be created, written and removed.
    Everything,
    /// Empty directories may be removed.
    EmptyDirectories,
}

impl AllowedChanges {
    /// Returns the rights of Landlock for these changes.
    fn rights(self) -> BitFlags<AccessFs> {
        let files = make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | RemoveFile});
        match self {
            Self::Files => files,
            Self::Sockets => make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
            Self::Everything => files | AccessFs::MakeDir | AccessFs::RemoveDir,
            Self::EmptyDirectories => AccessFs::RemoveDir.into(),
        }
    }
}

/// Returns the rights that Landlock restricts: writing files, and executing programs. Reading is not restricted, because the
/// configuration, certificates and the files of the DNS resolver may be replaced at any time and are then read again.
fn restricted_rights() -> BitFlags<AccessFs> {
    AccessFs::from_write(NEWEST_ABI) | AccessFs::Execute
}

/// Limits the calling thread, and the threads that it starts later, to these changes of files. The limits cannot be removed.
///
/// A directory that does not exist is skipped; the code that needs it reports an error. Files that are already open, such as
/// the log, remain usable.
pub(crate) fn restrict_thread(writable: &[WritableDirectory]) -> Result<LandlockStatus, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(restricted_rights())?.create()?;
    for WritableDirectory { directory, change } in writable {
        if let Ok(directory) = PathFd::new(directory) {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, change.rights()))?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => LandlockStatus::Full,
        RulesetStatus::PartiallyEnforced => LandlockStatus::Partial,
        RulesetStatus::NotEnforced => LandlockStatus::Unsupported,
    })
}

/// Returns whether the kernel has Landlock.
pub(crate) fn kernel_has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::Execute).and_then(Ruleset::create).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn writable(directory: &Path, change: AllowedChanges) -> WritableDirectory {
        WritableDirectory { directory: directory.to_owned(), change }
    }

    /// Runs `test` in a new thread with these limits, or skips it if the kernel does not have Landlock.
    fn run_limited(writable: Vec<WritableDirectory>, test: impl FnOnce() + Send + 'static) {
        let thread =
            std::thread::spawn(move || match restrict_thread(&writable).expect("the kernel accepts the rules") {
                LandlockStatus::Unsupported => eprintln!("SKIPPED: this kernel does not have Landlock"),
                _ => test(),
            });
        thread.join().expect("the limits are as expected");
    }

    fn is_denied<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn reading_is_not_restricted() {
        assert!(!restricted_rights().intersects(make_bitflags!(AccessFs::{ReadFile | ReadDir})));
        for change in [
            AllowedChanges::Files,
            AllowedChanges::Sockets,
            AllowedChanges::Everything,
            AllowedChanges::EmptyDirectories,
        ] {
            assert!(restricted_rights().contains(change.rights()), "{change:?}");
            assert!(!change.rights().contains(AccessFs::Execute), "{change:?}");
        }
    }

    #[test]
    fn files_can_be_changed_only_in_writable_directories() {
        let home = tempfile::tempdir().expect("a directory");
        let inside = home.path().join("inside");
        let outside = home.path().join("outside");
        for directory in [&inside, &outside] {
            fs::create_dir(directory).expect("a directory");
            fs::write(directory.join("old"), "old").expect("the file is written");
        }
        let absent = writable(&home.path().join("absent"), AllowedChanges::Files);
        run_limited(vec![absent, writable(&inside, AllowedChanges::Files)], move || {
            fs::write(inside.join("new"), "new").expect("the file is created");
            fs::rename(inside.join("new"), inside.join("old")).expect("the file is renamed");
            fs::remove_file(inside.join("old")).expect("the file is removed");
            assert!(is_denied(fs::create_dir(inside.join("directory"))));
            assert!(is_denied(UnixListener::bind(inside.join("socket"))));
            assert_eq!(fs::read_to_string(outside.join("old")).expect("reading is allowed"), "old");
            assert_eq!(fs::read_dir(&outside).expect("reading is allowed").count(), 1);
            assert!(is_denied(fs::write(outside.join("new"), "new")));
            assert!(is_denied(fs::write(outside.join("old"), "new")));
            assert!(is_denied(fs::remove_file(outside.join("old"))));
        });
    }

    #[test]
    fn sockets_can_be_created_and_replaced_if_allowed() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().to_owned();
        run_limited(vec![writable(home.path(), AllowedChanges::Sockets)], move || {
            let _socket = UnixListener::bind(directory.join("new")).expect("the socket is created");
            fs::rename(directory.join("new"), directory.join("socket")).expect("the file is renamed");
            fs::remove_file(directory.join("socket")).expect("the file is removed");
            assert!(is_denied(fs::write(directory.join("file"), "new")));
        });
    }

    #[test]
    fn a_temporary_directory_can_be_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let demo = home.path().join("demo");
        fs::create_dir(&demo).expect("a directory");
        let rules =
            vec![writable(&demo, AllowedChanges::Everything), writable(home.path(), AllowedChanges::EmptyDirectories)];
        let parent = home.path().to_owned();
        run_limited(rules, move || {
            fs::create_dir(demo.join("keys")).expect("a directory");
            fs::write(demo.join("keys/key"), "key").expect("the file is written");
            fs::remove_dir_all(&demo).expect("the directory is removed");
            assert!(is_denied(fs::create_dir(parent.join("other"))));
        });
    }

    #[test]
    fn no_program_can_be_executed() {
        run_limited(Vec::new(), || assert!(is_denied(Command::new("/bin/sh").arg("-c").arg(":").status())));
    }
}
