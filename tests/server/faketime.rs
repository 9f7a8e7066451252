//! A simulated wall clock for the processes of a [`Home`], by libfaketime. The file `clock` in the home contains its offset.

use std::ffi::OsStr;

use crate::clock_file::{wall_clock, write_clock};
use crate::harness::Home;

/// Sets the offset of the home's clock. Returns the environment variables that make a process use this clock.
pub(crate) fn faketime(offset: &str, home: &Home) -> [(&'static str, &'static OsStr); 4] {
    set_clock(home, offset);
    wall_clock(&home.path("clock"))
}

/// Sets the clock offset of all processes that read the home's file `clock`.
pub(crate) fn set_clock(home: &Home, offset: &str) {
    write_clock(&home.path("clock"), offset);
}
