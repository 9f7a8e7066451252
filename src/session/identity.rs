//! Identity in a session: the account id, the generations, and the data about the user that applications receive.

use serde::Serialize;

/// Account of a session, as it was at the login. Both generations were read before the password was checked, so a change of the
/// account during the check ends the session.
///
/// These fields are part of [`Claims`](super::claims::Claims), so their order is their order in the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Identity<'a> {
    /// Subject: the account id. 1 to 64 bytes of visible ASCII. An id is never used for a second account.
    pub sub: &'a str,
    /// Generation of the account at the login.
    pub account_generation: u64,
    /// Global generation at the login.
    pub global_generation: u64,
    /// Login name, at most 64 bytes.
    pub login_name: &'a str,
    /// Display name, at most 256 bytes. May be empty.
    pub display_name: &'a str,
    /// Email address, at most 254 bytes. May be empty.
    pub email: &'a str,
    /// Roles, each `[A-Za-z0-9_.:-]{1,64}`, joined by commas, at most 1024 bytes.
    pub roles: &'a str,
}

// Maximum lengths in bytes. Sealing and opening both check them.
const MAX_SUB_BYTES: usize = 64;
const MAX_LOGIN_NAME_BYTES: usize = 64;
const MAX_DISPLAY_NAME_BYTES: usize = 256;
const MAX_EMAIL_BYTES: usize = 254;
const MAX_ROLES_BYTES: usize = 1024;

impl<'a> Identity<'a> {
    /// Returns the roles one by one.
    pub fn roles(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.roles.split(',').filter(|role| !role.is_empty())
    }

    #[inline(always)]
    pub(super) fn is_well_formed(&self) -> bool {
        is_subject(self.sub)
            && self.login_name.len() <= MAX_LOGIN_NAME_BYTES
            && self.display_name.len() <= MAX_DISPLAY_NAME_BYTES
            && self.email.len() <= MAX_EMAIL_BYTES
            && self.roles.len() <= MAX_ROLES_BYTES
    }
}

/// Whether `text` has the format of an account id: 1 to 64 bytes of visible ASCII.
#[inline]
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=MAX_SUB_BYTES).contains(&text.len()) && text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic())
}
