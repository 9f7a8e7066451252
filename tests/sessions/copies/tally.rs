//! Counts of what happened.

use std::fmt;

use super::HOUR;

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) time: u64,
    pub(super) requests: u64,
    pub(super) renewals: u64,
    pub(super) writes: u64,
    pub(super) lost: u64,
    pub(super) sign_ins: u64,
    /// A session that was not in use long enough, or that missed its renewal, is over.
    pub(super) expired: u64,
    /// A session was ended as copied.
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
            "{} hours, {requests} requests, {renewals} renewals, {writes} writes, {lost} answers lost, {sign_ins} sign-ins, \
             {expired} expired, {copies} copies found",
            time / HOUR
        )
    }
}
