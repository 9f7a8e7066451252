//! Count of the nodes that have applied a change of a key, according to their last reports. Used by `revoke` and `wait`.

use std::time::Duration;

use crate::store::node::Node;

/// Nodes, sorted by whether they have applied the change.
#[derive(Debug)]
pub(super) struct Tally {
    /// Nodes that have reported, and have applied the change.
    pub(super) followed: Vec<Node>,
    /// Nodes that have reported, and have not applied the change.
    pub(super) behind: Vec<Node>,
    /// Nodes without a recent report.
    pub(super) silent: Vec<Node>,
}

impl Tally {
    /// Sorts the nodes. `has_reported` is whether the report is recent enough, and `has_followed` whether it has the change.
    pub(super) fn of(
        nodes: impl IntoIterator<Item = Node>,
        has_reported: impl Fn(&Node) -> bool,
        has_followed: impl Fn(&Node) -> bool,
    ) -> Self {
        let mut tally = Self { followed: Vec::new(), behind: Vec::new(), silent: Vec::new() };
        for node in nodes {
            match has_reported(&node) {
                true if has_followed(&node) => tally.followed.push(node),
                true => tally.behind.push(node),
                false => tally.silent.push(node),
            }
        }
        tally
    }

    /// Returns the number of all nodes.
    pub(super) const fn all(&self) -> usize {
        self.followed.len() + self.behind.len() + self.silent.len()
    }

    /// Returns whether every node has applied the change.
    pub(super) const fn is_complete(&self) -> bool {
        self.behind.is_empty() && self.silent.is_empty()
    }

    /// Returns the numbers of nodes that followed, are behind and are silent. Progress is printed when one of them changes.
    pub(super) const fn counts(&self) -> (usize, usize, usize) {
        (self.followed.len(), self.behind.len(), self.silent.len())
    }
}

/// Returns the names of the nodes, separated by commas.
pub(super) fn names<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> String {
    nodes.into_iter().map(|node| &*node.report.name).collect::<Vec<_>>().join(", ")
}

/// Returns a duration as text, in whole seconds, such as `1m 5s`.
pub(super) fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
