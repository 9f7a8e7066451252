//! The key files of a node: eight keys that take over from each other every five hours. Each is held, or has not come or is gone, or
//! was revoked in its file. And sign-outs with a key that the node does not open with.

use std::sync::LazyLock;
use std::time::Duration;

use sealjar::id::Kid;
use sealjar::keyring::{KeyRing, NoKey};

use super::node::{Node, START};
use super::request::Request;
use super::store::Report;
use super::tally::Seen;
use super::world::World;
use crate::fixture::{DAY, HOUR, MINUTE, cookie, field, key, key_with};

const COUNT: u8 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Held,
    Lacking,
    Revoked,
}

#[derive(Debug, Clone)]
pub(super) struct KeyFiles([File; COUNT as usize]);

impl KeyFiles {
    pub(super) const fn all() -> Self {
        Self([File::Held; COUNT as usize])
    }

    pub(super) fn with(mut self, kid: Kid, file: File) -> Self {
        self.0[index(kid)] = file;
        self
    }

    /// Why its files let it open nothing with a key, if so.
    pub(super) fn reason(&self, kid: Kid) -> Option<NoKey> {
        match self.0[index(kid)] {
            File::Held => None,
            File::Lacking => Some(NoKey::Unknown),
            File::Revoked => Some(NoKey::Revoked),
        }
    }

    /// The fourth key allows less.
    pub(super) fn ring(&self) -> KeyRing {
        let activates_at = |number: u8| START.plus(Duration::from_secs(5 * HOUR * u64::from(number - 1)));
        let held = (1..=COUNT).zip(self.0).filter(|(_, file)| *file != File::Lacking);
        let keys = held.map(|(number, file)| {
            key_with(number, |dates| {
                if number > 1 {
                    dates.activates_at = Some(activates_at(number));
                }
                if number == 4 {
                    dates.max_lifetime = Duration::from_secs(90 * MINUTE);
                }
                if file == File::Revoked {
                    dates.revoked_at = Some(START);
                }
            })
        });
        KeyRing::new(keys.collect())
    }
}

fn index(kid: Kid) -> usize {
    static KIDS: LazyLock<Vec<Kid>> = LazyLock::new(|| (1..=COUNT).map(|number| key(number).kid()).collect());
    KIDS.iter().position(|known| *known == kid).expect("one of ours")
}

/// What a sign-out makes of a token that does not open.
pub(super) enum Unopened {
    /// It opens, or there is none.
    Opens,
    /// 503: another node may open it, or the store cannot be asked.
    NotKnown,
    /// Nobody opens it.
    Dead,
}

impl World {
    /// As `may_be_live_on_other_node` in `src/http/logout.rs`. That nobody opens it is held against every node.
    pub(super) fn unopened(&mut self, request: &Request) -> Unopened {
        let Some(token) = self.cookie(request) else { return Unopened::Opens };
        let kid = token.kid;
        let node = &self.nodes[request.node];
        let expected: Vec<_> = node.does_not_open(kid).map(|reason| (kid, reason)).into_iter().collect();
        let field = field(&token.value);
        let cookie = cookie();
        let not_opened: Vec<_> = node.sessions.keys_not_opened([field.as_slice()], &cookie).collect();
        assert_eq!(not_opened, expected);
        let Some((kid, reason)) = not_opened.first().copied() else { return Unopened::Opens };
        if node.cut_off {
            self.count(Seen::StoreAway);
            return Unopened::NotKnown;
        }
        // Reports are forgotten after an hour, and one of a node that may have been killed counts for five minutes; for a day, both,
        // if it goes on with a stale list.
        let counts_for = |report: &Report| match reason {
            _ if report.fail_open => DAY,
            NoKey::Unknown => HOUR,
            NoKey::Revoked => 5 * MINUTE,
        };
        let counts = |report: &Report| report.kids.contains(&kid) && self.at - report.at <= counts_for(report);
        if self.store.reports.values().any(counts) {
            self.count(Seen::KeyElsewhere);
            return Unopened::NotKnown;
        }
        // Nobody knows how long a node goes on that goes on with a stale list. It is forgotten after a day (docs/keys.md).
        let is_silent = |report: &Report| self.at - report.at > DAY;
        let is_forgotten = |node: &Node| node.fail_open && self.store.reports.get(&node.number).is_some_and(is_silent);
        let accepts = |node: &&Node| node.ready && !is_forgotten(node) && node.verdict(token, self.at).is_ok();
        let accepting = self.nodes.iter().find(accepts).map(|node| node.number);
        assert_eq!(accepting, None, "a sign-out is answered with success, and the session lives on this node");
        self.count(Seen::SignedOutUnderADeadKey);
        Unopened::Dead
    }
}
