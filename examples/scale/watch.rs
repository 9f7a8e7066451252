//! Copies of logged-out cookies, which are presented to every node until their entry is deleted from every list.
//!
//! As long as a node may accept a copy, it is presented to every node four times per second. Each time a node accepts the copy,
//! the copy is renewed, even if it is not due. So it expires as late as any token of the session could. Later, the copy is
//! presented to a node only after the node has deleted expired entries. This is sufficient, because only a deletion can make a
//! node accept a refused copy again: apart from that, entries are only added, the time of the list never decreases, and a stale
//! list is updated before the node uses it again.

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::session::Lifetimes;

use crate::Violation;
use crate::node::Node;
use crate::scenario::MAX_STALENESS;
use crate::store::Row;

/// Results of the watch.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct WatchResults {
    /// Number of copies.
    pub(crate) copies: u64,
    /// Number of times that a copy was presented to a node.
    pub(crate) presentations: u64,
    /// Number of copies that were presented until their entry was deleted from every list.
    pub(crate) presented_until_deletion: u64,
    /// Maximum time after the response to a logout at which a node accepted a copy.
    pub(crate) accepted_after_response: Duration,
}

/// A copy of a logged-out cookie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookieCopy {
    pub(crate) sid: Sid,
    /// Number of the node on which the session was logged out.
    pub(crate) logout_node: usize,
    pub(crate) remembered: bool,
    pub(crate) idle_deadline: UnixTime,
    pub(crate) absolute_deadline: UnixTime,
    /// Time of the response to the logout, and expiry of its entry. `None` before the commit.
    pub(crate) response_and_expiry: Option<(Duration, UnixTime)>,
}

/// All copies that are presented to the nodes.
#[derive(Debug)]
pub(crate) struct Watch {
    lifetimes: Lifetimes,
    /// Copies that some node may still accept.
    recent: Vec<CookieCopy>,
    /// Copies that no node may accept any more.
    old: Vec<CookieCopy>,
    pub(crate) watched: WatchResults,
}

impl Watch {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, recent: Vec::new(), old: Vec::new(), watched: WatchResults::default() }
    }

    pub(crate) fn add(&mut self, copy: CookieCopy) {
        self.watched.copies += 1;
        self.recent.push(copy);
    }

    /// Records that the logout of a copy is committed and that its response was sent.
    pub(crate) fn record_commit(&mut self, row: &Row) {
        let copy = self.recent.iter_mut().find(|copy| copy.sid == row.sid);
        copy.expect("a copy is added at its logout").response_and_expiry = Some((row.committed, row.expires_at));
    }

    /// Presents the copies to every node.
    pub(crate) fn check(&mut self, nodes: &mut [Node], at: Duration) -> Result<(), Violation> {
        let Self { lifetimes, recent, old, watched } = self;
        for copy in &mut *recent {
            nodes.iter().try_for_each(|node| copy.present(node, at, lifetimes, watched))?;
        }
        let is_old = |copy: &mut CookieCopy| {
            copy.response_and_expiry.is_some_and(|(responded_at, _)| at > responded_at + MAX_STALENESS)
        };
        old.extend(recent.extract_if(.., is_old));
        for node in &mut *nodes {
            if std::mem::take(&mut node.has_pruned) {
                old.iter_mut().try_for_each(|copy| copy.present_after_pruning(node, at, lifetimes, watched))?;
            }
        }
        if at.as_millis().is_multiple_of(10_000) {
            let is_deleted =
                |node: &Node, copy: &CookieCopy| !node.list.is_durable(copy.sid) && copy.is_expired(node, at);
            let previous = old.len();
            old.retain(|copy| !nodes.iter().all(|node| is_deleted(node, copy)));
            watched.presented_until_deletion += (previous - old.len()) as u64;
        }
        Ok(())
    }
}

impl CookieCopy {
    fn is_expired(&self, node: &Node, at: Duration) -> bool {
        node.list.time(node.now(at)) >= self.idle_deadline.min(self.absolute_deadline)
    }

    /// Presents the copy to a node. If the node accepts the copy, checks that this is allowed, and
    /// renews the copy.
    fn present(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut WatchResults,
    ) -> Result<(), Violation> {
        watched.presentations += 1;
        let now = node.now(at);
        // The checks of `Sessions::verify`, without generations.
        let refused =
            node.list.refuses(self.sid, "", 0, 0) || self.is_expired(node, at) || !node.list.may_accept_sessions(now);
        if refused {
            return Ok(());
        }
        if node.number == self.logout_node {
            return Err(Violation::AcceptedByLogoutNode { node: node.number });
        }
        if let Some((responded_at, _)) = self.response_and_expiry {
            let after = at.saturating_sub(responded_at);
            if after > MAX_STALENESS {
                return Err(Violation::AcceptedTooLong { node: node.number, after_ms: after.as_millis() });
            }
            watched.accepted_after_response = watched.accepted_after_response.max(after);
        }
        let lifetime = if self.remembered { lifetimes.remembered } else { lifetimes.ordinary };
        self.idle_deadline = self.idle_deadline.max(node.list.time(now).plus(lifetime.idle));
        Ok(())
    }

    /// Presents the copy to a node that has just deleted expired entries. Checks that the entry was not kept too long.
    fn present_after_pruning(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut WatchResults,
    ) -> Result<(), Violation> {
        self.present(node, at, lifetimes, watched)?;
        let (_, expires_at) = self.response_and_expiry.expect("a copy becomes old after the response");
        // The node has deleted entries during the last step, perhaps in the previous second. The list also keeps an entry until
        // the next even second. So a delay of up to two seconds is correct.
        let late = node.list.time(node.now(at)).since(expires_at).as_secs();
        if late > 2 && node.list.is_durable(self.sid) {
            return Err(Violation::KeptTooLong { node: node.number, secs: late });
        }
        Ok(())
    }
}
