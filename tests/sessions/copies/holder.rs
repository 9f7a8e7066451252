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
    /// Time at which the latest suspension of the browser ends.
    pub(super) asleep_until: u64,
    /// Number of times that the browser was suspended.
    pub(super) suspends: u64,
    /// Whether a response was lost or the browser was suspended since the cookie was set. The session may then expire.
    pub(super) is_excused: bool,
    /// Highest renewal count among the tokens of this holder that a node has renewed.
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
    /// After all responses have arrived, with a delay in this range.
    After(u64, u64),
    /// As soon as the cookie is due for renewal. This is earlier than the request of the owner.
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

    /// Creates the habit of loading pages with up to `parts` concurrent requests each.
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
/// User who sends requests at the longest interval that keeps the session.
pub(super) const SPARSE: Habit = Habit::every(GET, 4 * MINUTE, 4 * MINUTE);

/// Habit of one holder, while it is running.
pub(super) struct Actor {
    pub(super) holder: usize,
    pub(super) habit: Habit,
    /// Number of requests without a response.
    pub(super) waiting: u64,
}
