//! Sessions as an application sees them: the public interface, and a clock that the tests move.

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
