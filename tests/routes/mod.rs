//! The public routes, in the test's own process and with a clock that stands still until the test moves it.
//!
//! A test calls the entrance of the public listener as a connection does, so it is quick, and needs no socket. What needs a process, a
//! real connection, a disk fault or a proxy is tested in `tests/server/` and `tests/web/`. The files are those of the URLs.

mod answer;
pub(crate) mod asvs;
mod cookies;
mod copies;
mod csrf;
mod described;
pub(crate) mod fixture;
pub(crate) mod keys;
mod login;
mod logout;
mod pages;
mod password;
mod reauthenticate;
mod renew;
mod request;
pub(crate) mod spellings;
mod status;
mod throttle;
mod verify;
