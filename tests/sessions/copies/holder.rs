//! Holders of a cookie: the owner's browser, and thieves. Each has one cookie jar and one or more habits.

use std::rc::Rc;

use super::request::{Ask, GET, Token};
use super::{MINUTE, SECOND};

/// A browser with one cookie jar. The last `Set-Cookie` to arrive wins.
#[derive(Default)]
pub(super) struct Holder {
    pub(super) jar: Option<Rc<Token>>,
    pub(super) asleep_until: u64,
    pub(super) suspends: u64,
    /// Since the cookie was set, an answer was lost or the browser slept: it may have missed its renewal.
    pub(super) is_excused: bool,
    /// Number of renewals of the newest of its tokens that was renewed at a check.
    pub(super) newest: u64,
}

/// Requests that repeat themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    pub(super) ask: Ask,
    /// Number of requests at the same time.
    pub(super) parallel: (u64, u64),
    pub(super) rhythm: Rhythm,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Rhythm {
    /// By the clock, whether or not the last one was answered. In milliseconds, like all times here.
    Every(u64, u64),
    /// After the answers to the last ones.
    After(u64, u64),
    /// As soon as the cookie is due: one step ahead of the owner.
    WhenDue,
    /// With the owner: in lockstep.
    WithOwner,
}

impl Habit {
    pub(super) const fn every(ask: Ask, first: u64, last: u64) -> Self {
        Self { ask, parallel: (1, 1), rhythm: Rhythm::Every(first, last) }
    }

    pub(super) const fn after(ask: Ask, first: u64, last: u64) -> Self {
        Self { ask, parallel: (1, 1), rhythm: Rhythm::After(first, last) }
    }

    /// A page with so many parts.
    pub(super) const fn page_loads(ask: Ask, parts: u64, first: u64, last: u64) -> Self {
        Self { ask, parallel: (2, parts), rhythm: Rhythm::Every(first, last) }
    }

    pub(super) const fn when_due(ask: Ask) -> Self {
        Self { ask, parallel: (1, 1), rhythm: Rhythm::WhenDue }
    }

    pub(super) const fn with_owner(ask: Ask) -> Self {
        Self { ask, parallel: (1, 1), rhythm: Rhythm::WithOwner }
    }
}

/// Clicks of a busy user.
pub(super) const CLICKS: Habit = Habit::after(GET, 2 * SECOND, 40 * SECOND);
/// A script that asks for news.
pub(super) const POLLS: Habit = Habit::every(GET, MINUTE, MINUTE);
/// A user who asks as seldom as is allowed.
pub(super) const SPARSE: Habit = Habit::every(GET, 4 * MINUTE, 4 * MINUTE);

/// A habit of one holder, at work.
pub(super) struct Actor {
    pub(super) holder: usize,
    pub(super) habit: Habit,
    /// Number of requests that are not answered.
    pub(super) waiting: u64,
}
