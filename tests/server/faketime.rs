//! The wall clock that the processes of a [`Home`] see, moved as its file `clock` says.

use std::ffi::OsStr;

use crate::clock_file::{wall_clock, write_clock};
use crate::harness::Home;

/// Moves the clock. Returns the variables under which a process sees it.
pub(crate) fn faketime(offset: &str, home: &Home) -> [(&'static str, &'static OsStr); 4] {
    set_clock(home, offset);
    wall_clock(&home.path("clock"))
}

/// Moves the clock of the processes that see the home's file `clock`.
pub(crate) fn set_clock(home: &Home, offset: &str) {
    write_clock(&home.path("clock"), offset);
}
