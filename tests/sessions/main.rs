//! Tests of sessions through the public interface of the library, with a clock that the tests move.
//!
//! `schedule` and `copies` are simulations with random schedules. The other modules test one rule each. `fixture` is shared.

#![allow(missing_docs)]

mod clocks;
mod cookies;
mod copies;
mod fixture;
mod forms;
mod lifetimes;
mod presented;
mod refusals;
mod renewal;
mod rotation;
mod schedule;
