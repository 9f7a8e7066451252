//! Counts of the events in a simulation.

use std::fmt;

use super::HOUR;

/// Counts of events, and the simulated time in milliseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) time: u64,
    pub(super) requests: u64,
    pub(super) renewals: u64,
    pub(super) writes: u64,
    pub(super) lost: u64,
    pub(super) sign_ins: u64,
    /// Sessions that expired because they were not used, or because a renewal was lost.
    pub(super) expired: u64,
    /// Sessions that ended because a node found a copy.
    pub(super) copies: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { time, requests, renewals, writes, lost, sign_ins, expired, copies } = self;
        *time += other.time;
        *requests += other.requests;
        *renewals += other.renewals;
        *writes += other.writes;
        *lost += other.lost;
        *sign_ins += other.sign_ins;
        *expired += other.expired;
        *copies += other.copies;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, requests, renewals, writes, lost, sign_ins, expired, copies } = self;
        write!(
            f,
            "{} hours, {requests} requests, {renewals} renewals, {writes} writes, {lost} responses lost, {sign_ins} logins, \
             {expired} expired, {copies} copies found",
            time / HOUR
        )
    }
}
