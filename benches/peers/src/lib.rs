//! What the peers have in common. Each has `POST /sign-in`, which begins a session for alice, and `GET /session`, which
//! answers with the session's user or with 401.

use std::env;
use std::net::SocketAddr;

use serde::Serialize;

/// Who signs in.
pub const USER: &str = "alice";
/// What the session calls the user.
pub const KEY: &str = "user";

/// The answer to a live session: `{"status":"ok","user":"alice"}`.
#[derive(Debug, Serialize)]
pub struct Answer {
    status: &'static str,
    user: String,
}

impl Answer {
    /// The answer to a session of this user.
    pub fn to(user: String) -> Self {
        Self { status: "ok", user }
    }
}

/// The address to listen on: the first argument.
pub fn address() -> SocketAddr {
    let address = env::args().nth(1).and_then(|address| address.parse().ok());
    address.expect("the first argument is the address to listen on, such as 127.0.0.1:3000")
}
