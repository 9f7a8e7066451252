//! Tests with clocks that differ or are set. A revoked or expired session must not become valid again.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, StepGuard};
use sealjar::keyring::KeyRing;
use sealjar::revocation::{Freshness, RevocationList, WhenStale};
use sealjar::session::{Cause, Refusal, Sessions};

use crate::fixture::{LIFETIMES, MAX_STALENESS, MINUTE, ORDINARY, SITE, World, cookie, field, key};

#[test]
fn accepts_a_token_sealed_60_seconds_ahead_but_not_61() {
    for (behind, accepted) in
        [(0, true), (1, true), (59, true), (60, true), (61, false), (3600, false), (86_400, false)]
    {
        let mut world = World::new();
        let session = world.sign_in();
        world.step(-behind);
        let expected = if accepted { Ok(session.sid) } else { Err(Refusal::Invalid(Cause::FromTheFuture)) };
        assert_eq!(world.verify(&session.token), expected, "{behind} s behind");
    }
}

#[test]
fn a_fast_clock_renews_earlier_and_a_slow_clock_does_not() {
    let interval = ORDINARY.renewal_interval().as_secs() as i64;
    for (step, due) in [(-60, false), (0, false), (interval - 1, false), (interval, true)] {
        let mut world = World::new();
        let session = world.sign_in();
        world.step(step);
        assert_eq!(world.renew(&session.token).expect("live").is_some(), due, "{step} s");
    }
}

#[test]
fn a_stale_list_refuses_all_or_no_live_sessions_as_configured() {
    let millisecond = Duration::from_millis(1);
    for (age, fresh) in [
        (Duration::ZERO, true),
        (MAX_STALENESS, true),
        (MAX_STALENESS + millisecond, false),
        (2 * MAX_STALENESS, false),
    ] {
        for (when_stale, accepted) in [(WhenStale::Refuse, fresh), (WhenStale::Allow, true)] {
            let mut world = World::with(KeyRing::new(vec![key(1)]), LIFETIMES, when_stale);
            let session = world.sign_in();
            let signed_out = world.sign_in();
            world.revoke(&signed_out);
            world.pass_unsynced(age);
            let expected = if accepted { Ok(session.sid) } else { Err(Refusal::Stale) };
            assert_eq!(world.verify(&session.token), expected, "{age:?}, {when_stale:?}");
            assert_eq!(world.verify(&signed_out.token), Err(Refusal::Revoked), "{age:?}, {when_stale:?}");
            assert!(accepted || world.renew(&session.token).is_err(), "{age:?}, {when_stale:?}");
            world.list().mark_synced(world.now);
            assert_eq!(
                world.verify(&session.token),
                Ok(session.sid),
                "the node accepts the session after it has read the list again"
            );
        }
    }
}

#[test]
fn setting_the_wall_clock_does_not_change_the_staleness() {
    for step in [-7200, -61, 61, 1200] {
        let mut world = World::new();
        let fresh = world.sign_in();
        world.step(step);
        assert_ne!(world.verify(&fresh.token), Err(Refusal::Stale), "{step} s");
        world.pass_unsynced(MAX_STALENESS + Duration::from_secs(1));
        world.step(-step);
        assert_eq!(world.verify(&fresh.token), Err(Refusal::Stale), "{step} s and back");
    }
}

#[test]
fn a_list_that_was_never_read_is_stale() {
    let world = World::new();
    let session = world.sign_in();
    let never_read = Freshness { max_staleness: MAX_STALENESS, when_stale: WhenStale::Refuse };
    let list = Arc::new(RevocationList::new(never_read));
    let sessions = Sessions::new(KeyRing::new(vec![key(1)]), list, cookie(), LIFETIMES);
    let fields = [field(session.token.expose())];
    let outcome = sessions.verify(fields.iter().map(Vec::as_slice), SITE, world.now, |_| ());
    assert_eq!(outcome, Err(Refusal::Stale));
}

const STEPS: [&[i64]; 6] =
    [&[-7200], &[7200], &[-7200, 7200], &[7200, -7200], &[7200, -7200, -7200, 7200], &[-7200, 7200, 7200, -7200]];

#[test]
fn a_revoked_session_stays_refused_when_the_clock_is_set() {
    for steps in STEPS {
        for (guarded, remember) in [(true, false), (true, true), (false, false), (false, true)] {
            let name = format!("{steps:?}, guarded: {guarded}, remembered: {remember}");
            let mut world = World::new();
            let session = if remember { world.remember() } else { world.sign_in() };
            let mut guard = StepGuard::new(world.now);
            world.revoke(&session);
            for step in steps {
                world.step(*step);
                // Without the guard, the server removes entries by its wrong clock. After a removal, it uses no earlier time.
                if guarded {
                    world.prune(&mut guard);
                } else {
                    world.list().prune(world.now.wall);
                }
                for minutes in [0, 1, 28, 1, 1, 29, 60, 1] {
                    world.pass(minutes * MINUTE);
                    assert!(world.verify(&session.token).is_err(), "{name}, after {step}");
                    assert!(world.renew(&session.token).is_err(), "{name}, after {step}");
                }
            }
        }
    }
}

#[test]
fn sessions_stay_refused_after_a_fast_clock_is_set_back() {
    let mut world = World::new();
    let revoked = world.sign_in();
    let other = world.sign_in();
    world.revoke(&revoked);
    world.step(7200);
    world.list().prune(world.now.wall);
    assert!(world.list().is_empty(), "the entry was removed");
    world.step(-7200);
    for session in [revoked, other] {
        assert_eq!(
            world.verify(&session.token),
            Err(Refusal::Expired),
            "the server uses no time before the last removal"
        );
    }
    let fresh = world.sign_in();
    assert_eq!(fresh.deadlines.idle, world.list().time(world.now).plus(ORDINARY.idle));
    assert_eq!(world.verify(&fresh.token), Ok(fresh.sid), "a new session is valid");
}

#[test]
fn setting_a_clock_forward_and_back_ends_no_session() {
    let mut world = World::new();
    let session = world.sign_in();
    let mut guard = StepGuard::new(world.now);
    world.step(7200);
    world.prune(&mut guard);
    assert_eq!(world.verify(&session.token), Err(Refusal::Expired));
    world.step(-7200);
    assert_eq!(world.verify(&session.token), Ok(session.sid));
}

#[test]
fn an_entry_outlives_a_fast_nodes_last_token_on_a_slow_node() {
    for (remember, lifetime) in [(false, LIFETIMES.ordinary), (true, LIFETIMES.remembered)] {
        let mut right = World::new();
        let mut fast = World::new();
        let mut slow = World::new();
        let session = if remember { right.remember() } else { right.sign_in() };
        right.pass(lifetime.idle.as_secs() / 2);
        right.revoke(&session);
        fast.now = right.now;
        fast.pass((MAX_STALENESS + CLOCK_SKEW).as_secs());
        let last = fast.renew(&session.token).expect("not revoked on this node").expect("due").token;
        right.pass(lifetime.idle.as_secs());
        right.list().prune(right.now.wall);
        assert_eq!(right.verify(&last), Err(Refusal::Revoked), "remembered: {remember}");
        while !right.list().is_empty() {
            right.pass(1);
            right.list().prune(right.now.wall);
        }
        slow.now = right.now;
        slow.step(-(CLOCK_SKEW.as_secs() as i64));
        slow.list().mark_synced(slow.now);
        assert_eq!(slow.verify(&last), Err(Refusal::Expired), "remembered: {remember}");
        slow.step(-2);
        assert_eq!(
            slow.verify(&last),
            Ok(session.sid),
            "two seconds earlier, the entry was needed; remembered: {remember}"
        );
    }
}
