//! Web rules that the server (`http`) and an application with embedded sessions (`embed`) share.
//!
//! The rules are: the cookies on the wire, the hosts that are served, the protection against cross-site requests, the
//! recognition of browsers, the paths to which a browser may be redirected, the texts of refusals, and changes that complete
//! even if their client disconnects. Each rule exists only here, so the server and embedding applications cannot differ.

pub(crate) mod browser;
pub(crate) mod changes;
pub(crate) mod cookie;
pub(crate) mod csrf;
pub(crate) mod hosts;
pub(crate) mod origin;
pub(crate) mod refusal;
pub(crate) mod return_path;
pub(crate) mod sites;
