//! Copies of logged-out cookies. They are presented to every node until their entry is deleted from every list.
//!
//! As long as a node may accept a copy, it is presented to every node four times per second. Each time a node accepts it, it is
//! renewed, even if it is not due. So it expires as late as any token of the session could. Later, it is presented only after a
//! node has deleted expired entries. This is sufficient, because only a deletion can make a node accept a refused copy again:
//! otherwise entries are only added, the time of the list never decreases, and a stale list is updated before the node uses it
//! again.

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
pub(crate) struct Watched {
    /// Number of copies.
    pub(crate) copies: u64,
    /// Number of times that a copy was presented to a node.
    pub(crate) tries: u64,
    /// Number of copies that were presented until their entry was deleted from every list.
    pub(crate) outlived: u64,
    /// Maximum time after the response to a logout at which a node accepted a copy.
    pub(crate) accepted_after_answer: Duration,
}

/// A copy of a logged-out cookie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) sid: Sid,
    /// Number of the node on which the session was logged out.
    pub(crate) logout_node: usize,
    pub(crate) remembered: bool,
    pub(crate) idle_deadline: UnixTime,
    pub(crate) absolute_deadline: UnixTime,
    /// Time of the response to the logout, and expiry of its entry. `None` before the commit.
    pub(crate) ended: Option<(Duration, UnixTime)>,
}

/// All copies that are presented to the nodes.
#[derive(Debug)]
pub(crate) struct Watch {
    lifetimes: Lifetimes,
    /// Copies that some node may still accept.
    recent: Vec<Copy>,
    /// Copies that no node may accept any more.
    old: Vec<Copy>,
    pub(crate) watched: Watched,
}

impl Watch {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, recent: Vec::new(), old: Vec::new(), watched: Watched::default() }
    }

    pub(crate) fn add(&mut self, copy: Copy) {
        self.watched.copies += 1;
        self.recent.push(copy);
    }

    /// Notes that the logout of a copy is committed and that its response was sent.
    pub(crate) fn committed(&mut self, row: &Row) {
        let copy = self.recent.iter_mut().find(|copy| copy.sid == row.sid);
        copy.expect("a copy is added at its logout").ended = Some((row.committed, row.expires_at));
    }

    /// Presents the copies to every node.
    pub(crate) fn check(&mut self, nodes: &mut [Node], at: Duration) -> Result<(), Violation> {
        let Self { lifetimes, recent, old, watched } = self;
        for copy in &mut *recent {
            nodes.iter().try_for_each(|node| copy.try_to_renew(node, at, lifetimes, watched))?;
        }
        let too_late = |copy: &mut Copy| copy.ended.is_some_and(|(answered, _)| at > answered + MAX_STALENESS);
        old.extend(recent.extract_if(.., too_late));
        for node in &mut *nodes {
            if std::mem::take(&mut node.has_pruned) {
                old.iter_mut().try_for_each(|copy| copy.try_again(node, at, lifetimes, watched))?;
            }
        }
        if at.as_millis().is_multiple_of(10_000) {
            let is_deleted = |node: &Node, copy: &Copy| !node.list.is_durable(copy.sid) && copy.is_expired(node, at);
            let previous = old.len();
            old.retain(|copy| !nodes.iter().all(|node| is_deleted(node, copy)));
            watched.outlived += (previous - old.len()) as u64;
        }
        Ok(())
    }
}

impl Copy {
    fn is_expired(&self, node: &Node, at: Duration) -> bool {
        node.list.time(node.now(at)) >= self.idle_deadline.min(self.absolute_deadline)
    }

    /// Presents the copy to a node. If the node accepts it, checks that it may, and renews the copy.
    fn try_to_renew(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut Watched,
    ) -> Result<(), Violation> {
        watched.tries += 1;
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
        if let Some((answered, _)) = self.ended {
            let after = at.saturating_sub(answered);
            if after > MAX_STALENESS {
                return Err(Violation::AcceptedTooLong { node: node.number, after_ms: after.as_millis() });
            }
            watched.accepted_after_answer = watched.accepted_after_answer.max(after);
        }
        let lifetime = if self.remembered { lifetimes.remembered } else { lifetimes.ordinary };
        self.idle_deadline = self.idle_deadline.max(node.list.time(now).plus(lifetime.idle));
        Ok(())
    }

    /// Presents the copy to a node that has just deleted expired entries. Checks that the entry was not kept too long.
    fn try_again(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut Watched,
    ) -> Result<(), Violation> {
        self.try_to_renew(node, at, lifetimes, watched)?;
        let (_, expires_at) = self.ended.expect("a copy becomes old after the response");
        // The node has deleted entries during the last step, perhaps in the previous second. And the list keeps an entry until
        // the next even second. So up to two seconds are correct.
        let late = node.list.time(node.now(at)).since(expires_at).as_secs();
        if late > 2 && node.list.is_durable(self.sid) {
            return Err(Violation::KeptTooLong { node: node.number, secs: late });
        }
        Ok(())
    }
}
