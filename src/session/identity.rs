//! The identity that a session speaks for: a subject, its generations, and what applications are told of the user.

use serde::Serialize;

/// The account of a session, as it was at sign-in; both generations as read before the password was hashed.
///
/// These fields are part of [`Claims`](super::claims::Claims), so their order is that of the token's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Identity<'a> {
    /// The subject: which account the session speaks for. 1 to 64 bytes of visible ASCII, never used again.
    pub sub: &'a str,
    /// The account's generation when it signed in.
    pub account_generation: u64,
    /// The store's generation when it signed in.
    pub global_generation: u64,
    /// The name the user signs in with; at most 64 bytes.
    pub login_name: &'a str,
    /// The display name, or empty; at most 256 bytes.
    pub display_name: &'a str,
    /// An address, or empty; at most 254 bytes.
    pub email: &'a str,
    /// Roles, each `[A-Za-z0-9_.:-]{1,64}`, joined by commas; at most 1024 bytes.
    pub roles: &'a str,
}

/// Lengths, in bytes, that sealing and opening both hold to.
const MAX_SUB: usize = 64;
const MAX_LOGIN_NAME: usize = 64;
const MAX_DISPLAY_NAME: usize = 256;
const MAX_EMAIL: usize = 254;
const MAX_ROLES: usize = 1024;

impl<'a> Identity<'a> {
    /// The roles, one by one.
    pub fn roles(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.roles.split(',').filter(|role| !role.is_empty())
    }

    #[inline(always)]
    pub(super) fn is_well_formed(&self) -> bool {
        is_subject(self.sub)
            && self.login_name.len() <= MAX_LOGIN_NAME
            && self.display_name.len() <= MAX_DISPLAY_NAME
            && self.email.len() <= MAX_EMAIL
            && self.roles.len() <= MAX_ROLES
    }
}

/// Whether this may stand for an account: 1 to 64 bytes of visible ASCII.
#[inline]
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=MAX_SUB).contains(&text.len()) && text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic())
}
