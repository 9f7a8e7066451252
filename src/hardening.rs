//! Protects the process against others of the same user, and limits what the process itself can change.
//!
//! Keys and passwords are in memory. [`Memory`] keeps them out of core dumps and away from debuggers, with `PR_SET_DUMPABLE` of
//! [prctl(2)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html). [`limit`] denies an attacker who runs code in the
//! server to change files elsewhere and to start programs, with [Landlock](https://docs.kernel.org/userspace-api/landlock.html).
//! Only the `sealjar` command uses these: an application that embeds sessions decides by itself.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, make_bitflags,
};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// The newest version of Landlock whose rights are handled. Newer rights to write are added here after a test.
const NEWEST: ABI = ABI::V5;

/// Protection of the memory of this process.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The state before.
    before: Option<DumpableBehavior>,
}

impl Memory {
    /// Forbids core dumps, and other processes of the same user to read this one's memory and its open files. It holds until the
    /// end of the process.
    pub(crate) fn protect() -> Self {
        let before = dumpable_behavior().ok();
        // It cannot fail on Linux. `is_dumpable` tells what is in force.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        Self { before }
    }

    /// Returns to what was in force before.
    pub(crate) fn unprotect(&self) {
        if let Some(before) = self.before {
            let _ = set_dumpable_behavior(before);
        }
    }
}

/// Returns whether other processes of the same user can read the memory of this one.
pub(crate) fn is_dumpable() -> bool {
    !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

/// How far Landlock limits this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landlock {
    /// All that this program asks for is in force.
    Full,
    /// The kernel knows some of the rights only.
    Partial,
    /// The kernel does not have Landlock.
    Unsupported,
    /// The kernel has Landlock and did not apply it.
    Failed,
    /// It was not asked for.
    Off,
}

impl Landlock {
    /// Returns the value in the log and in `/readyz`.
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

/// Hardening that is in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardening {
    pub(crate) dumpable: bool,
    pub(crate) landlock: Landlock,
}

/// A directory below which something may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writable {
    pub(crate) directory: PathBuf,
    pub(crate) change: Change,
}

/// The changes that are allowed below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Files are made, written and removed.
    Files,
    /// Sockets are made and removed.
    Sockets,
    /// Files and directories are made, written and removed.
    Everything,
    /// Empty directories are removed.
    EmptyDirectories,
}

impl Change {
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

/// Writing, and executing programs. Reading is not handled: configuration, certificates and the files of the resolver may be replaced
/// at any time, and are read again.
fn handled() -> BitFlags<AccessFs> {
    AccessFs::from_write(NEWEST) | AccessFs::Execute
}

/// Limits the calling thread, and threads that it starts from now on, to these changes of files. Nothing can undo it. A directory
/// that does not exist is left out: what needs it reports that. Files that are open already stay usable, such as the log's.
pub(crate) fn limit(writable: &[Writable]) -> Result<Landlock, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(handled())?.create()?;
    for Writable { directory, change } in writable {
        if let Ok(directory) = PathFd::new(directory) {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, change.rights()))?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Unsupported,
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

    fn writable(directory: &Path, change: Change) -> Writable {
        Writable { directory: directory.to_owned(), change }
    }

    /// Acts on a thread of its own under these limits, if the kernel can enforce them.
    fn limited(writable: Vec<Writable>, act: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(move || match limit(&writable).expect("the kernel takes the rules") {
            Landlock::Unsupported => eprintln!("SKIPPED: this kernel does not have Landlock"),
            _ => act(),
        });
        thread.join().expect("what is limited is as expected");
    }

    fn is_denied<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn nothing_is_handled_that_only_reads() {
        assert!(!handled().intersects(make_bitflags!(AccessFs::{ReadFile | ReadDir})));
        for change in [Change::Files, Change::Sockets, Change::Everything, Change::EmptyDirectories] {
            assert!(handled().contains(change.rights()), "{change:?}");
            assert!(!change.rights().contains(AccessFs::Execute), "{change:?}");
        }
    }

    #[test]
    fn files_change_only_where_they_may() {
        let home = tempfile::tempdir().expect("a directory");
        let inside = home.path().join("inside");
        let outside = home.path().join("outside");
        for directory in [&inside, &outside] {
            fs::create_dir(directory).expect("a directory");
            fs::write(directory.join("old"), "old").expect("written");
        }
        let absent = writable(&home.path().join("absent"), Change::Files);
        limited(vec![absent, writable(&inside, Change::Files)], move || {
            fs::write(inside.join("new"), "new").expect("a new file");
            fs::rename(inside.join("new"), inside.join("old")).expect("renamed");
            fs::remove_file(inside.join("old")).expect("removed");
            assert!(is_denied(fs::create_dir(inside.join("directory"))));
            assert!(is_denied(UnixListener::bind(inside.join("socket"))));
            assert_eq!(fs::read_to_string(outside.join("old")).expect("reading is free"), "old");
            assert_eq!(fs::read_dir(&outside).expect("reading is free").count(), 1);
            assert!(is_denied(fs::write(outside.join("new"), "new")));
            assert!(is_denied(fs::write(outside.join("old"), "new")));
            assert!(is_denied(fs::remove_file(outside.join("old"))));
        });
    }

    #[test]
    fn sockets_are_made_and_replaced_where_they_may() {
        let home = tempfile::tempdir().expect("a directory");
        let place = home.path().to_owned();
        limited(vec![writable(home.path(), Change::Sockets)], move || {
            let _socket = UnixListener::bind(place.join("made")).expect("bound");
            fs::rename(place.join("made"), place.join("socket")).expect("renamed");
            fs::remove_file(place.join("socket")).expect("removed");
            assert!(is_denied(fs::write(place.join("file"), "new")));
        });
    }

    #[test]
    fn a_temporary_directory_can_be_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let demo = home.path().join("demo");
        fs::create_dir(&demo).expect("a directory");
        let rules = vec![writable(&demo, Change::Everything), writable(home.path(), Change::EmptyDirectories)];
        let place = home.path().to_owned();
        limited(rules, move || {
            fs::create_dir(demo.join("keys")).expect("a directory");
            fs::write(demo.join("keys/key"), "key").expect("written");
            fs::remove_dir_all(&demo).expect("removed");
            assert!(is_denied(fs::create_dir(place.join("other"))));
        });
    }

    #[test]
    fn no_program_is_executed() {
        limited(Vec::new(), || assert!(is_denied(Command::new("/bin/sh").arg("-c").arg(":").status())));
    }
}
