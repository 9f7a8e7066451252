//! Sessions without a session table.
//!
//! A session is a token in one cookie: claims, encrypted and authenticated with
//! [XChaCha20-Poly1305](https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03). The server stores only a revocation
//! list: the sessions that it must refuse. An entry is removed when every token that it refuses has expired.
//!
//! The crate contains the `sealjar` server, and a library for applications that check sessions without the server:
//!
//! * **With [Salvo](https://salvo.rs)**: the module `embed` has everything that an application needs. `examples/embed.rs` is an
//!   application in under 60 lines. Create its keys with `sealjar keys init --keys shop-keys`, and start it with
//!   `cargo run --example embed`.
//! * **With another framework**: [`Sessions`](session::Sessions), as shown [below](#without-salvo).
//!
//! # Features
//!
//! | features | adds |
//! |---|---|
//! | `default-features = false` | [`keyring`], [`seal`], [`session`], [`revocation`]: no framework, runtime, logger or database |
//! | `salvo` | `embed`: a hoop (Salvo's middleware), typed session data, login and logout. Sessions end with the process |
//! | `store` | `salvo`, and sessions and logouts that survive a restart, in SQLite or PostgreSQL |
//! | `server` (default) | `store`, and the `sealjar` command |
//!
//! # Without Salvo
//!
//! The application reads the clocks, passes the raw `Cookie` fields, and writes the cookie. No function here waits or does I/O.
//! The application also keeps the revocation list up to date with its other processes. When it has done so, it calls
//! [`mark_synced`](revocation::RevocationList::mark_synced). With [`WhenStale::Refuse`](revocation::WhenStale::Refuse), every
//! session is refused while the list is older than `max_staleness`.
//!
//! [`verify`](session::Sessions::verify) does not detect copied cookies. An application that needs copy detection calls
//! [`detect_copies`](session::Sessions::detect_copies) once and
//! [`verify_and_detect`](session::Sessions::verify_and_detect) at the beginning of each request.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sealjar::clock::{Now, UnixTime};
//! use sealjar::id::Site;
//! use sealjar::keyring::{Dates, Key, KeyRing};
//! use sealjar::revocation::{Freshness, RevocationList, WhenStale, retention};
//! use sealjar::seal::CookieName;
//! use sealjar::secret::Secret;
//! use sealjar::session::claims::Methods;
//! use sealjar::session::{Identity, Lifetimes, Refusal, Sessions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An application uses KeyRing::load, with a directory that `sealjar keys init` created.
//! let month = Duration::from_secs(30 * 24 * 3600);
//! let dates = Dates {
//!     created_at: UnixTime(0), activates_at: Some(UnixTime(0)), revoked_at: None, max_lifetime: month,
//! };
//! let ring = KeyRing::new(vec![Key::new(Secret::random(), dates)]);
//! let list = Arc::new(RevocationList::new(Freshness { max_staleness: month, when_stale: WhenStale::Refuse }));
//! let now = Now::read();
//! list.mark_synced(now);
//! let cookie = CookieName::new("__Host-app").ok_or("invalid cookie name")?;
//! let sessions = Sessions::new(ring, list.clone(), cookie, Lifetimes::default());
//!
//! let ada = Identity {
//!     sub: "42", account_generation: 1, global_generation: 1,
//!     login_name: "ada", display_name: "", email: "", roles: "staff",
//! };
//! let site = Site::of_host("app.example.com");
//! let session = sessions.sign_in(&ada, Methods::NONE, false, b"", site, now)?;
//! let field = format!("__Host-app={}", session.token.expose());
//! let sub = sessions.verify([field.as_bytes()], site, now, |session| session.claims().identity.sub.to_owned());
//! assert_eq!(sub.as_deref(), Ok("42"));
//!
//! // The session is refused from now on. The application stores the entry if the logout must survive a restart.
//! list.add_pending(session.sid, retention::pending_until(session.deadlines.absolute));
//! assert_eq!(sessions.verify([field.as_bytes()], site, now, |_| ()), Err(Refusal::Revoked));
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! A check fails with a [`Refusal`](session::Refusal): missing, invalid, expired, revoked or stale. Send the client only that
//! word ([`reason`](session::Refusal::reason)). The cause inside `Invalid`, which `{:?}` prints, is for the log. Sealing fails
//! with a [`SealError`](session::SealError). Loading keys fails with a [`RingError`](keyring::RingError).
//!
//! # Limits
//!
//! * Anyone who has the cookie has the session, until a logout or the deadline.
//! * Anyone who can read the key directory can create sessions of any user.
//! * A user can restore an older value of the data in a session, by sending an older cookie that has not expired. So do not keep
//!   counters or permissions there.
//!
//! `SECURITY.md` describes the threat model.
//!
//! # Token format
//!
//! `tests/vectors/README.md` specifies the bytes of the token, with test vectors. It is enough to write a second implementation.
//!
//! # Layers
//!
//! A module imports only from its own layer and from lower layers, and imports of files form no cycle
//! (`tests/layers.rs`). Layers 0 to 2 use neither Salvo, Tokio nor a logger, and take the time as an argument.
//!
//! | layer | modules | depend on |
//! |---|---|---|
//! | 5 process | `cli`, `config`, `server` | the machine |
//! | 4 http | `embed`, `http`, `web` | Salvo |
//! | 3 sync | [`account`], `audit`, `metrics`, `log_sampler`, `store`, `sync` | Argon2, SQLite and PostgreSQL, Tokio |
//! | 2 session | [`revocation`], [`session`] | tokens and time |
//! | 1 sealing | [`keyring`], [`seal`] | cryptography, key files |
//! | 0 values | `access_denied`, `bounded_file`, [`clock`], `file_owner`, `hardening`, [`id`], `network`, [`secret`] | the operating system |

#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod access_denied;
mod bounded_file;
pub mod clock;
mod file_owner;
#[cfg(feature = "server")]
mod hardening;
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
// Only the server uses some items of these two modules.
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
