//! Holders of a cookie: the browser of the owner, and thieves. Each has one cookie jar, and one or more habits of sending
//! requests.

use std::rc::Rc;

use super::request::{GET, RequestTemplate, Token};
use super::{MINUTE, SECOND};

/// Browser with one cookie jar. The last `Set-Cookie` field that arrives replaces the cookie.
#[derive(Default)]
pub(super) struct Holder {
    /// Token in the cookie jar.
    pub(super) jar: Option<Rc<Token>>,
    /// Time at which the latest suspend ends.
    pub(super) asleep_until: u64,
    /// Number of suspends.
    pub(super) suspends: u64,
    /// Whether a response was lost or the browser slept since the cookie was set. The session may then expire.
    pub(super) is_excused: bool,
    /// Number of renewals in the newest of its tokens that was renewed at a check.
    pub(super) newest: u64,
}

/// Requests that a holder repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    pub(super) template: RequestTemplate,
    /// Range of the number of concurrent requests.
    pub(super) parallel: (u64, u64),
    pub(super) rhythm: Rhythm,
}

/// Times at which a habit sends requests. All times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rhythm {
    /// At intervals in this range, even if an earlier request has no response yet.
    Every(u64, u64),
    /// A delay in this range after all responses have arrived.
    After(u64, u64),
    /// As soon as the cookie is due for renewal, and so earlier than the owner.
    WhenDue,
    /// Directly after each request of the owner, in lockstep.
    WithOwner,
}

impl Habit {
    pub(super) const fn every(template: RequestTemplate, first: u64, last: u64) -> Self {
        Self { template, parallel: (1, 1), rhythm: Rhythm::Every(first, last) }
    }

    pub(super) const fn after(template: RequestTemplate, first: u64, last: u64) -> Self {
        Self { template, parallel: (1, 1), rhythm: Rhythm::After(first, last) }
    }

    /// Loads of a page with up to `parts` requests.
    pub(super) const fn page_loads(template: RequestTemplate, parts: u64, first: u64, last: u64) -> Self {
        Self { template, parallel: (2, parts), rhythm: Rhythm::Every(first, last) }
    }

    pub(super) const fn when_due(template: RequestTemplate) -> Self {
        Self { template, parallel: (1, 1), rhythm: Rhythm::WhenDue }
    }

    pub(super) const fn with_owner(template: RequestTemplate) -> Self {
        Self { template, parallel: (1, 1), rhythm: Rhythm::WithOwner }
    }
}

/// Clicks of a busy user.
pub(super) const CLICKS: Habit = Habit::after(GET, 2 * SECOND, 40 * SECOND);
/// Polling script.
pub(super) const POLLS: Habit = Habit::every(GET, MINUTE, MINUTE);
/// User with the longest interval between requests that keeps the session.
pub(super) const SPARSE: Habit = Habit::every(GET, 4 * MINUTE, 4 * MINUTE);

/// Habit of one holder, while it is running.
pub(super) struct Actor {
    pub(super) holder: usize,
    pub(super) habit: Habit,
    /// Number of requests without a response.
    pub(super) waiting: u64,
}
