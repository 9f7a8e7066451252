//! Common code of the peers, other session libraries with which `make bench` compares Sealjar. Each peer has `POST /sign-in`,
//! which starts a session for alice, and `GET /session`, which responds with the user of the session or with 401.

use std::env;
use std::net::SocketAddr;

use serde::Serialize;

/// Login name of the user.
pub const USER: &str = "alice";
/// Key of the user in the session data.
pub const KEY: &str = "user";

/// Response to a request with a live session: `{"status":"ok","user":"alice"}`.
#[derive(Debug, Serialize)]
pub struct Answer {
    status: &'static str,
    user: String,
}

impl Answer {
    /// Creates the response for a session of this user.
    pub fn to(user: String) -> Self {
        Self { status: "ok", user }
    }
}

/// Returns the address to listen on, which is the first argument of the program.
pub fn address() -> SocketAddr {
    let address = env::args().nth(1).and_then(|address| address.parse().ok());
    address.expect("the first argument is the address to listen on, such as 127.0.0.1:3000")
}
