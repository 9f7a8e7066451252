//! The wall clock that the processes of a [`Home`] see. The file `clock` of the home has its offset (libfaketime).

use std::ffi::OsStr;

use crate::clock_file::{wall_clock, write_clock};
use crate::harness::Home;

/// Sets the offset of the home's clock. Returns the environment variables of a process that is to see this clock.
pub(crate) fn faketime(offset: &str, home: &Home) -> [(&'static str, &'static OsStr); 4] {
    set_clock(home, offset);
    wall_clock(&home.path("clock"))
}

/// Sets the clock offset of all processes that read the home's file `clock`.
pub(crate) fn set_clock(home: &Home, offset: &str) {
    write_clock(&home.path("clock"), offset);
}
