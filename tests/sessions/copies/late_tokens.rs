//! Tests of late tokens: a request with the parent of a token that was already presented. It is accepted for 90 seconds, but
//! not renewed.

use sealjar::session::claims::Methods;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Refusal, SealedSession};

use super::SECOND;
use super::node::Node;
use crate::fixture::{ALICE, ORDINARY, SITE, field};

/// A node, a token P, its two children A and B (renewed after about 300 s), and the child of A (renewed at 600 s).
struct Family {
    node: Node,
    p: SealedSession,
    a: SealedSession,
    b: SealedSession,
    child_of_a: SealedSession,
}

impl Family {
    fn new() -> Self {
        let node = Node::start(ORDINARY, 1 << 16, 0);
        let p = node.sessions.sign_in(&ALICE, Methods::PASSWORD, false, b"", SITE, node.now(0)).expect("a session");
        let [a, b] = [300, 301].map(|at| present(&node, at, &p).expect("live").expect("due"));
        let child_of_a = present(&node, 600, &a).expect("live").expect("due");
        Self { node, p, a, b, child_of_a }
    }

    fn present(&self, at: u64, token: &SealedSession) -> Result<bool, Refusal> {
        present(&self.node, at, token).map(|renewed| renewed.is_some())
    }
}

/// Presents a token at a time in seconds, and renews it if it is due.
fn present(node: &Node, at: u64, session: &SealedSession) -> Result<Option<SealedSession>, Refusal> {
    let field = field(session.token.expose());
    let now = node.now(at * SECOND);
    let window = RenewalWindow::WhenDue;
    node.sessions.verify_and_detect(
        [field.as_slice()],
        SITE,
        now,
        window,
        |_| (),
        |verified| node.sessions.renew(verified, window).expect("a key seals"),
    )
}

#[test]
fn a_parent_is_accepted_for_ninety_seconds_and_not_renewed() {
    for (at, verdict) in [(600, Ok(false)), (690, Ok(false)), (691, Err(Refusal::Revoked))] {
        let family = Family::new();
        assert_eq!(family.present(at, &family.p), verdict, "{at} s");
    }
}

#[test]
fn the_ninety_seconds_begin_with_the_first_child() {
    type Child = fn(&Family) -> &SealedSession;
    let children: [(&str, Child); 2] = [("the same child", |family| &family.a), ("its sibling", |family| &family.b)];
    for (name, child) in children {
        for (at, verdict) in [(690, Ok(false)), (691, Err(Refusal::Revoked))] {
            let family = Family::new();
            assert_eq!(family.present(680, child(&family)), Ok(true), "{name}");
            assert_eq!(family.present(at, &family.p), verdict, "{name}, {at} s");
        }
    }
}

#[test]
fn a_late_token_is_not_recorded() {
    let family = Family::new();
    assert_eq!(family.present(650, &family.p), Ok(false));
    assert_eq!(family.present(900, &family.child_of_a), Ok(true));
}

#[test]
fn only_the_parent_is_accepted_late() {
    let family = Family::new();
    assert_eq!(family.present(900, &family.child_of_a), Ok(true));
    assert_eq!(family.present(901, &family.a), Ok(false));
    assert_eq!(family.present(901, &family.b), Err(Refusal::Revoked), "a sibling of the parent is a copy");
    for token in [&family.p, &family.a, &family.child_of_a] {
        assert_eq!(family.present(901, token), Err(Refusal::Revoked), "the whole session is revoked");
    }
}

#[test]
fn a_child_of_another_sibling_is_a_copy() {
    let family = Family::new();
    let child_of_b = present(&family.node, 601, &family.b).expect("live").expect("due");
    assert_eq!(family.present(901, &child_of_b), Ok(true));
    assert_eq!(family.present(902, &family.child_of_a), Err(Refusal::Revoked));
}
