//! Tests of the public routes, in the process of the test runner and with a fixed clock. Only the test moves the clock.
//!
//! A test calls the entrance of the public listener as a connection does. It is therefore fast and needs no socket. Tests that
//! need a process, a real connection, a disk fault or a proxy are in `tests/server/` and `tests/web/`. The file names follow
//! the URLs.

pub(crate) mod asvs;
mod cookies;
mod copies;
mod csrf;
pub(crate) mod fixture;
pub(crate) mod keys;
mod login;
mod logout;
mod openapi_check;
mod pages;
mod password;
mod reauthenticate;
mod renew;
mod request;
mod response;
pub(crate) mod spellings;
mod status;
mod throttle;
mod verify;
