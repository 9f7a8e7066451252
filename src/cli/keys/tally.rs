//! How many nodes have followed a change of a key, by what they last reported.

use std::time::Duration;

use crate::store::node::Node;

/// Nodes by whether they have followed.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) followed: Vec<Node>,
    /// Heard of, and not followed.
    pub(super) behind: Vec<Node>,
    /// Not heard of.
    pub(super) silent: Vec<Node>,
}

impl Tally {
    pub(super) fn of(
        nodes: impl IntoIterator<Item = Node>,
        is_heard_of: impl Fn(&Node) -> bool,
        has_followed: impl Fn(&Node) -> bool,
    ) -> Self {
        let mut tally = Self { followed: Vec::new(), behind: Vec::new(), silent: Vec::new() };
        for node in nodes {
            match is_heard_of(&node) {
                true if has_followed(&node) => tally.followed.push(node),
                true => tally.behind.push(node),
                false => tally.silent.push(node),
            }
        }
        tally
    }

    /// How many there are.
    pub(super) const fn all(&self) -> usize {
        self.followed.len() + self.behind.len() + self.silent.len()
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.behind.is_empty() && self.silent.is_empty()
    }

    /// How many have followed, are behind and are silent: if it changes, there is something new to say.
    pub(super) const fn counts(&self) -> (usize, usize, usize) {
        (self.followed.len(), self.behind.len(), self.silent.len())
    }
}

/// Their names.
pub(super) fn names<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> String {
    nodes.into_iter().map(|node| &*node.report.name).collect::<Vec<_>>().join(", ")
}

/// A time in whole seconds, such as `1m 5s`.
pub(super) fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
