//! Audit events of commands that change accounts, sessions, keys or the store.
//!
//! A command writes its event to standard error, in the format and at the level of the server's log, as soon as the change is
//! committed. A command that fails writes none. `docs/reference/events.md` lists the changes.

use crate::audit;
pub(super) use crate::audit::Changed;
use crate::config::settings::Settings;
use crate::server::log;

/// Change that a command has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    AccountAdded,
    AccountsImported,
    ProfileSet,
    PasswordSet,
    AccountDisabled,
    AccountEnabled,
    RolesSet,
    AccountDeleted,
    SessionEnded,
    AccountSessionsEnded,
    EverySessionEnded,
    KeyPublished,
    KeyActivated,
    KeyRevoked,
    KeyRemoved,
    StoreRestored,
    StoreMoved,
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::AccountAdded => "account-added",
            Self::AccountsImported => "accounts-imported",
            Self::ProfileSet => "profile-set",
            Self::PasswordSet => "password-set",
            Self::AccountDisabled => "account-disabled",
            Self::AccountEnabled => "account-enabled",
            Self::RolesSet => "roles-set",
            Self::AccountDeleted => "account-deleted",
            Self::SessionEnded => "session-ended",
            Self::AccountSessionsEnded => "account-sessions-ended",
            Self::EverySessionEnded => "every-session-ended",
            Self::KeyPublished => "key-published",
            Self::KeyActivated => "key-activated",
            Self::KeyRevoked => "key-revoked",
            Self::KeyRemoved => "key-removed",
            Self::StoreRestored => "store-restored",
            Self::StoreMoved => "store-moved",
        }
    }
}

/// Writes the event of a committed change, with the user id of the operator.
pub(super) fn record(settings: &Settings, change: Change, changed: Changed<'_>) {
    let uid = rustix::process::getuid().as_raw();
    let sudo_uid = std::env::var("SUDO_UID").ok().and_then(|text| text.parse::<u32>().ok());
    let by = audit::Operator { uid, sudo_uid };
    log::write_synchronously(settings, || audit::changed_by_command(change.name(), changed, by));
}
