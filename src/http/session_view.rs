//! JSON form of a session, for its user. It is the body of the responses of `/auth/status` and of a login.

use utoipa::ToSchema;

use crate::clock::UnixTime;
use crate::http::json::{Object, name};
use crate::id::Sid;
use crate::session::Identity;
use crate::session::claims::Flags;
use crate::session::lifetime::Deadlines;

/// JSON form of a session. Times are Unix seconds.
#[derive(ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView<'a> {
    /// Id of the session. Every login creates a new id. It is not a credential.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    sid: Sid,
    /// Id of the account, which never changes.
    sub: &'a str,
    /// The name with which the user logs in.
    login_name: &'a str,
    /// The display name; may be empty.
    display_name: &'a str,
    /// The email address; may be empty.
    email: &'a str,
    // In JSON, this is a list. Here, it is one text, in which commas separate the roles.
    /// The roles of the account when the session started.
    #[schema(value_type = Vec<String>)]
    roles: &'a str,
    /// Time at which the user last gave the password.
    #[schema(value_type = u64)]
    authenticated_at: UnixTime,
    /// Time at which the session ends if it is not used.
    #[schema(value_type = u64)]
    idle_deadline: UnixTime,
    /// Time at which the session ends in any case.
    #[schema(value_type = u64)]
    absolute_deadline: UnixTime,
    /// Whether the session outlives the browser.
    remembered: bool,
    /// The CSRF token for forms of this session.
    #[schema(value_type = String)]
    csrf_token: &'a [u8],
}

impl<'a> SessionView<'a> {
    pub(super) const fn new(
        sid: Sid,
        identity: &Identity<'a>,
        authenticated_at: UnixTime,
        deadlines: Deadlines,
        flags: Flags,
        csrf_token: &'a [u8],
    ) -> Self {
        Self {
            sid,
            sub: identity.sub,
            login_name: identity.login_name,
            display_name: identity.display_name,
            email: identity.email,
            roles: identity.roles,
            authenticated_at,
            idle_deadline: deadlines.idle,
            absolute_deadline: deadlines.absolute,
            remembered: flags.is_remembered(),
            csrf_token,
        }
    }

    /// Returns the JSON object.
    pub(super) fn object(&self) -> Object {
        Object::new()
            .plain(name!("sid"), &self.sid.digits())
            .text(name!("sub"), self.sub)
            .text(name!("login_name"), self.login_name)
            .text(name!("display_name"), self.display_name)
            .text(name!("email"), self.email)
            .list(name!("roles"), self.roles.split(',').filter(|role| !role.is_empty()))
            .number(name!("authenticated_at"), self.authenticated_at.0)
            .number(name!("idle_deadline"), self.idle_deadline.0)
            .number(name!("absolute_deadline"), self.absolute_deadline.0)
            .boolean(name!("remembered"), self.remembered)
            .plain(name!("csrf_token"), self.csrf_token)
    }
}
