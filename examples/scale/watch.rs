//! Thieves: copies of cookies that were signed out, held against every node until the entry has gone everywhere.
//!
//! Each copy's owner tries every node four times a second for as long as one of them accepts it, and every acceptance renews it,
//! whether or not a tenth of its idle time has gone: so it dies as late as any token of that session could. Later it is tried
//! after every pruning. Between two prunings nothing that is refused can become accepted again: entries are only added, time,
//! as the list tells it, only grows, and a list that was too old to be believed has been read before it is believed again.

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::session::Lifetimes;

use crate::Violation;
use crate::node::Node;
use crate::scenario::MAX_STALENESS;
use crate::store::Row;

/// What was watched.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Watched {
    /// Copies that thieves had.
    pub(crate) copies: u64,
    /// How often one was held against a node.
    pub(crate) tries: u64,
    /// Copies that were watched until their entry had gone from every list.
    pub(crate) outlived: u64,
    /// The longest after the answer to a sign-out that some node accepted a copy.
    pub(crate) accepted_after_answer: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) sid: Sid,
    pub(crate) signed_out_at: usize,
    pub(crate) remembered: bool,
    pub(crate) idle_deadline: UnixTime,
    pub(crate) absolute_deadline: UnixTime,
    /// When the sign-out was answered, and when its entry may go.
    pub(crate) ended: Option<(Duration, UnixTime)>,
}

#[derive(Debug)]
pub(crate) struct Watch {
    lifetimes: Lifetimes,
    /// Those that some node may still accept.
    recent: Vec<Copy>,
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

    /// The sign-out of a copy is durable, and answered.
    pub(crate) fn committed(&mut self, row: &Row) {
        let copy = self.recent.iter_mut().find(|copy| copy.sid == row.sid);
        copy.expect("watched from its sign-out on").ended = Some((row.committed, row.expires_at));
    }

    /// Tries every node.
    pub(crate) fn look(&mut self, nodes: &mut [Node], at: Duration) -> Result<(), Violation> {
        let Self { lifetimes, recent, old, watched } = self;
        for copy in &mut *recent {
            nodes.iter().try_for_each(|node| copy.try_to_renew(node, at, lifetimes, watched))?;
        }
        let too_late = |copy: &mut Copy| copy.ended.is_some_and(|(answered, _)| at > answered + MAX_STALENESS);
        old.extend(recent.extract_if(.., too_late));
        for node in &mut *nodes {
            if std::mem::take(&mut node.pruned) {
                old.iter_mut().try_for_each(|copy| copy.try_again(node, at, lifetimes, watched))?;
            }
        }
        if at.as_millis().is_multiple_of(10_000) {
            let has_gone = |node: &Node, copy: &Copy| !node.list.is_durable(copy.sid) && copy.is_dead(node, at);
            let before = old.len();
            old.retain(|copy| !nodes.iter().all(|node| has_gone(node, copy)));
            watched.outlived += (before - old.len()) as u64;
        }
        Ok(())
    }
}

impl Copy {
    fn is_dead(&self, node: &Node, at: Duration) -> bool {
        node.list.time(node.now(at)) >= self.idle_deadline.min(self.absolute_deadline)
    }

    fn try_to_renew(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut Watched,
    ) -> Result<(), Violation> {
        watched.tries += 1;
        let now = node.now(at);
        // Generations aside, what `Sessions::verify` asks.
        let refused = node.list.refuses(self.sid, "", 0, 0) || self.is_dead(node, at) || !node.list.may_be_trusted(now);
        if refused {
            return Ok(());
        }
        if node.number == self.signed_out_at {
            return Err(Violation::AcceptedWhereItEnded { node: node.number });
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

    /// After a pruning.
    fn try_again(
        &mut self,
        node: &Node,
        at: Duration,
        lifetimes: &Lifetimes,
        watched: &mut Watched,
    ) -> Result<(), Violation> {
        self.try_to_renew(node, at, lifetimes, watched)?;
        let (_, expires_at) = self.ended.expect("old since it was answered");
        // It has pruned at some moment of the last step, which may have been of the second before. And the list keeps an entry
        // until the next even second.
        let late = node.list.time(node.now(at)).since(expires_at).as_secs();
        if late > 2 && node.list.is_durable(self.sid) {
            return Err(Violation::KeptTooLong { node: node.number, secs: late });
        }
        Ok(())
    }
}
