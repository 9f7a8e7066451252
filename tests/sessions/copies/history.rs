//! Record of the last events, which is printed when a check fails.

use std::collections::VecDeque;
use std::fmt;

use sealjar::session::Refusal;

use super::SECOND;

/// Maximum number of recorded events.
const CAPACITY: usize = 300;

/// Event of a simulation. Only `Debug` reads its fields.
#[allow(dead_code)]
#[derive(Debug, Clone, Copy)]
pub(super) enum HistoryEvent {
    /// A node accepted a token that was due for renewal, and possibly renewed it.
    Due { holder: usize, node: usize, renewals: u64, token: u64, child: Option<u64>, is_safe: bool },
    /// A node refused a token.
    Refused { holder: usize, node: usize, token: u64, refusal: Refusal },
    /// The application replaced its data in a token.
    Written { holder: usize, node: usize, token: u64, new: u64 },
    /// A new cookie arrived and replaced the old one.
    Arrived { holder: usize, new: u64, old: Option<u64> },
    /// The response to a request with this token was lost.
    Lost { holder: usize, token: u64 },
    /// A node restarted.
    Restarted { node: usize },
    /// A browser was suspended for this time.
    Slept { holder: usize, for_ms: u64 },
    /// The owner logged in.
    SignedIn { holder: usize, token: u64 },
    /// A thief copied the owner's cookie.
    Copied { thief: usize, token: u64 },
}

/// Last events, each with its simulated time in milliseconds.
#[derive(Default)]
pub(super) struct History(VecDeque<(u64, HistoryEvent)>);

impl History {
    pub(super) fn add(&mut self, at: u64, event: HistoryEvent) {
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back((at, event));
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.0 {
            writeln!(f, "{:9}.{:03} s  {event:?}", at / SECOND, at % SECOND)?;
        }
        Ok(())
    }
}
