//! Tests of the key ring: states of keys, consistent reads, and keys that the revocation log refuses.

use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::secret::Secret;

fn key(number: u8, activates_at: Option<u64>, revoked_at: Option<u64>) -> Key {
    let dates = Dates {
        created_at: UnixTime(0),
        activates_at: activates_at.map(UnixTime),
        revoked_at: revoked_at.map(UnixTime),
        max_lifetime: Duration::from_secs(100),
    };
    Key::new(Secret::from_bytes([number; 32]), dates)
}

fn kid(number: u8) -> Kid {
    Kid::of_key(&[number; 32])
}

fn states(ring: &KeyRing, now: u64) -> Vec<(Kid, &'static str)> {
    let mut states: Vec<_> = ring.keys().iter().map(|key| (key.kid(), ring.state(key, UnixTime(now)).name())).collect();
    states.sort_by_key(|(id, _)| (1..=9).find(|number| kid(*number) == *id));
    states
}

#[test]
fn a_key_is_published_then_active_then_retired_as_time_passes() {
    let ring = KeyRing::new(vec![key(1, Some(10), None), key(2, Some(20), None), key(3, None, None)]);
    let names_at = |now| states(&ring, now).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names_at(9), ["published", "published", "published"]);
    assert_eq!(names_at(10), ["active", "published", "published"]);
    assert_eq!(names_at(20), ["retired", "active", "published"]);
    assert_eq!(ring.sealing_key(UnixTime(9)).map(Key::kid), None);
    assert_eq!(ring.sealing_key(UnixTime(25)).map(Key::kid), Some(kid(2)));
    assert_eq!(ring.retired_at(&ring.keys()[1], UnixTime(25)), Some(UnixTime(20)));
}

#[test]
fn every_key_opens_except_a_revoked_key() {
    let ring = KeyRing::new(vec![key(1, Some(10), None), key(2, Some(20), Some(30)), key(3, None, None)]);
    assert!(ring.opening_key(kid(1)).is_ok() && ring.opening_key(kid(3)).is_ok());
    assert_eq!(ring.opening_key(kid(2)).err(), Some(NoKey::Revoked));
    assert_eq!(ring.opening_key(kid(4)).err(), Some(NoKey::Unknown));
}

#[test]
fn a_retired_key_is_active_again_if_its_replacement_is_revoked() {
    let ring = KeyRing::new(vec![key(1, Some(10), None), key(2, Some(20), Some(99))]);
    for now in [25, 1_000] {
        assert_eq!(ring.sealing_key(UnixTime(now)).map(Key::kid), Some(kid(1)), "at {now}");
    }
}

#[test]
fn the_greater_id_seals_if_two_keys_activate_together() {
    let ring = KeyRing::new(vec![key(1, Some(10), None), key(2, Some(10), None)]);
    let reversed = KeyRing::new(vec![key(2, Some(10), None), key(1, Some(10), None)]);
    assert_eq!(ring.sealing_key(UnixTime(10)).map(Key::kid), Some(kid(1).max(kid(2))));
    assert_eq!(ring, reversed);
}

#[test]
fn a_key_that_the_log_refuses_is_revoked() {
    let ring = || KeyRing::new(vec![key(1, Some(10), None), key(2, Some(20), None)]);
    let with_refusals = ring().with_refused_keys(&[kid(2), kid(9)]);
    assert_eq!(states(&with_refusals, 25), [(kid(1), "active"), (kid(2), "revoked")]);
    assert_eq!(with_refusals.opening_key(kid(2)).err(), Some(NoKey::Revoked));
    assert_ne!(with_refusals, ring());
    assert_eq!(with_refusals.without_refusals(), ring());
    assert_eq!(ring().with_refused_keys(&[kid(1), kid(2)]).sealing_key(UnixTime(25)), None);
}

#[test]
fn reads_the_ring_until_two_reads_agree() {
    let read_count = Cell::new(0);
    // The first read returns the old version of one file and the new version of the other.
    let reads = [[(1, None), (2, Some(20))], [(1, Some(15)), (2, Some(20))]];
    let read = || {
        let keys = reads[read_count.get().min(1)].map(|(number, date)| match number {
            1 => key(1, Some(10), date),
            _ => key(number, date, None),
        });
        read_count.set(read_count.get() + 1);
        Ok(KeyRing::new(keys.into()))
    };
    let ring = read_until_stable(read).expect("read");
    assert_eq!(states(&ring, 25), [(kid(1), "revoked"), (kid(2), "active")]);
    assert_eq!(read_count.get(), 3);
}

#[test]
fn retirement_begins_with_the_first_unrevoked_replacement() {
    let ring = KeyRing::new(vec![key(1, Some(0), None), key(2, Some(10), Some(20)), key(3, Some(30), None)]);
    let oldest = ring.keys().last().expect("three keys");
    assert_eq!(ring.retired_at(oldest, UnixTime(40)), Some(UnixTime(30)));
    assert_eq!(ring.retired_at(oldest, UnixTime(25)), None, "the oldest key is active again at this time");
}
