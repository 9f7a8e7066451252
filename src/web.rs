//! What the server's routes and an application that embeds sessions stand on alike: how our cookies look on the wire, which hosts
//! are served, what another site may not send, who is a browser and where it may go, the words of refusals, and changes that outlive
//! their client. Each of these rules is here and nowhere else.

pub(crate) mod browser;
pub(crate) mod changes;
pub(crate) mod cookie;
pub(crate) mod csrf;
pub(crate) mod hosts;
pub(crate) mod origin;
pub(crate) mod refusal;
pub(crate) mod return_path;
pub(crate) mod sites;
