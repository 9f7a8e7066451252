//! The last events, to be printed when something is wrong.

use std::collections::VecDeque;
use std::fmt;

use sealjar::session::Refusal;

use super::SECOND;

/// Number of lines that are kept.
const LENGTH: usize = 300;

/// Its fields are read by `Debug` alone.
#[allow(dead_code)]
#[derive(Debug, Clone, Copy)]
pub(super) enum Happened {
    /// A due token was accepted at a node, and perhaps renewed.
    Due {
        holder: usize,
        node: usize,
        renewals: u64,
        token: u64,
        child: Option<u64>,
        is_safe: bool,
    },
    Refused {
        holder: usize,
        node: usize,
        token: u64,
        refusal: Refusal,
    },
    /// The application replaced its data in a token.
    Written {
        holder: usize,
        node: usize,
        token: u64,
        new: u64,
    },
    /// A cookie arrived. It replaces another.
    Arrived {
        holder: usize,
        new: u64,
        old: Option<u64>,
    },
    Lost {
        holder: usize,
        token: u64,
    },
    Restarted {
        node: usize,
    },
    Slept {
        holder: usize,
        for_ms: u64,
    },
    SignedIn {
        holder: usize,
        token: u64,
    },
    Copied {
        thief: usize,
        token: u64,
    },
}

#[derive(Default)]
pub(super) struct History(VecDeque<(u64, Happened)>);

impl History {
    pub(super) fn add(&mut self, at: u64, happened: Happened) {
        if self.0.len() == LENGTH {
            self.0.pop_front();
        }
        self.0.push_back((at, happened));
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, happened) in &self.0 {
            writeln!(f, "{:9}.{:03} s  {happened:?}", at / SECOND, at % SECOND)?;
        }
        Ok(())
    }
}
