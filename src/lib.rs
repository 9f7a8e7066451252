//! Sealjar: a session server with no session table.
//!
//! A session lives in the browser, sealed in one cookie with XChaCha20-Poly1305; the server remembers only what it must
//! *refuse*: a small list of revoked sessions whose entries die with the cookies they refuse.
//!
//! # In an application of your own
//!
//! | features | what there is |
//! |---|---|
//! | `default-features = false` | sealing and opening sessions by hand: [`keyring`], [`seal`], [`session`], [`revocation`]; neither a framework, a runtime, a logger nor a database |
//! | `salvo` | `embed`: a hoop for Salvo, with the application's own sign-in and its own data in the session |
//! | `store` | `salvo`, and sign-outs that outlive the process, in SQLite or PostgreSQL |
//! | `server` (default) | `store`, and the `sealjar` command with all that it needs |
//!
//! With Salvo, begin at `embed`; `examples/embed.rs` is a whole application in under 60 lines. `sealjar keys init` makes its key
//! ring, and `sealjar keys rotate` changes it while the application runs.
//!
//! # By hand
//!
//! With another framework: read the clocks, hand over the raw `Cookie` fields, and write the cookie. Nothing here waits or reads
//! anything; keeping the list like that of other processes is the caller's business, and so is telling it
//! ([`mark_synced`](revocation::RevocationList::mark_synced)) that it is current.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sealjar::clock::{Now, UnixTime};
//! use sealjar::id::Site;
//! use sealjar::keyring::{Dates, Key, KeyRing};
//! use sealjar::revocation::{Freshness, RevocationList, WhenStale};
//! use sealjar::seal::CookieName;
//! use sealjar::secret::Secret;
//! use sealjar::session::{Identity, Lifetimes, Refusal, Sessions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In earnest: KeyRing::load, of a directory that `sealjar keys init` made.
//! let month = Duration::from_secs(30 * 24 * 3600);
//! let dates = Dates {
//!     created_at: UnixTime(0), activates_at: Some(UnixTime(0)), revoked_at: None, max_lifetime: month,
//! };
//! let ring = KeyRing::new(vec![Key::new(Secret::random(), dates)]);
//! let list = Arc::new(RevocationList::new(Freshness { max_staleness: month, when_stale: WhenStale::Refuse }));
//! let now = Now::read();
//! list.mark_synced(now);
//! let cookie = CookieName::new("__Host-app").ok_or("a cookie's name")?;
//! let sessions = Sessions::new(ring, list.clone(), cookie, Lifetimes::default());
//!
//! let ada = Identity {
//!     sub: "42", account_generation: 1, global_generation: 1,
//!     login_name: "ada", display_name: "", email: "", roles: "staff",
//! };
//! let site = Site::of_host("app.example.com");
//! let session = sessions.sign_in(&ada, false, b"", site, now)?;
//! let field = format!("__Host-app={}", session.token.expose());
//! let sub = sessions.verify([field.as_bytes()], site, now, |session| session.claims().identity.sub.to_owned());
//! assert_eq!(sub.as_deref(), Ok("42"));
//!
//! // Refused from now on; a store must keep the entry, if it is to hold through a restart.
//! list.add_pending(session.sid, session.deadlines.absolute);
//! assert_eq!(sessions.verify([field.as_bytes()], site, now, |_| ()), Err(Refusal::Revoked));
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! A verdict is a [`Refusal`](session::Refusal): missing, invalid, expired, revoked or stale. Tell the client that word and no more;
//! the cause inside `Invalid` is for the log. Sealing fails with a [`SealError`](session::SealError), reading keys with a
//! [`RingError`](keyring::RingError).
//!
//! # What it cannot do
//!
//! A stolen cookie is the session, until it is signed out or dies. Data in a session can be brought back to an earlier value within
//! a token's life. Whoever reads the key directory can make sessions for anybody. `SECURITY.md` has the whole threat model.
//!
//! # Inside
//!
//! A module imports only modules of its own layer and of lower ones, and no two files import each other (`tests/layers.rs`):
//!
//! | layer | modules | know |
//! |---|---|---|
//! | 5 process | `cli`, `config`, `server` | the machine |
//! | 4 http | `embed`, `http`, `web` | Salvo |
//! | 3 sync | [`account`], `audit`, `metrics`, `log_sampler`, `store`, `sync` | Argon2, SQLite and PostgreSQL, Tokio |
//! | 2 session | [`revocation`], [`session`] | what a session is, and when it is refused |
//! | 1 sealing | [`keyring`], [`seal`] | keys and bytes |
//! | 0 values | `access_denied`, `bounded_file`, [`clock`], `file_owner`, [`id`], `network`, [`secret`] | nothing |
//!
//! Layers 0 to 2 know neither Salvo, Tokio nor a logger, and take the time as an argument.

#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod access_denied;
mod bounded_file;
pub mod clock;
mod file_owner;
pub mod id;
#[cfg(feature = "salvo")]
mod log_sampler;
#[cfg(feature = "store")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod metrics;
#[cfg(feature = "store")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod network;
pub mod secret;

pub mod keyring;
pub mod seal;

pub mod revocation;
pub mod session;

pub mod account;
// Some of each is for the server alone.
#[cfg(feature = "store")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod audit;
#[cfg(feature = "store")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod store;

#[cfg(feature = "salvo")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod sync;

#[cfg(feature = "salvo")]
pub mod embed;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "salvo")]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod web;

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod server;

#[cfg(all(test, feature = "server"))]
#[path = "../tests/routes/mod.rs"]
mod routes;
