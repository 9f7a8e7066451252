//! Sealjar: a session server with no session table.
//!
//! A session lives in the browser, sealed in one cookie with XChaCha20-Poly1305; the server remembers only what it must
//! *refuse*: a small list of revoked sessions whose entries die with the cookies they refuse.
//!
//! Modules import downwards only:
//!
//! | floor | modules | know |
//! |---|---|---|
//! | 0 values | [`id`], [`clock`], [`secret`], `network` | nothing |
//! | 1 sealing | [`seal`], [`keyring`] | keys and bytes |
//! | 2 session | [`session`], [`revocation`] | what a session is, and when it is refused |
//! | 3 stores | [`account`], `account::password`, `audit`, `store`, `revocation::{commit, tail}` | SQLite, Argon2, Tokio |
//! | 4 http | `http` | Salvo |
//! | 5 process | `config`, `server`, `cli` | the machine |
//!
//! Floors 0 to 2 know neither Salvo, Tokio nor a logger, and take the time as an argument.
//!
//! The feature `server`, on by default, brings in floors 3 to 5, but for the types of an account's fields: the `sealjar` command,
//! and all that it needs and an application that only seals and verifies sessions does not.

pub mod clock;
pub mod id;
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
