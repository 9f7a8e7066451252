//! Tests of changes of the key ring: creation, rotation, revocation and removal of keys.

use super::*;
use crate::keyring::NoKey;

const LIFETIME: Duration = Duration::from_secs(1000);

fn ring_at(now: u64) -> (tempfile::TempDir, LockedRing, Kid) {
    let directory = tempfile::tempdir().expect("a directory");
    let kid = LockedRing::init(directory.path(), LIFETIME, UnixTime(now)).expect("an empty directory");
    let ring = LockedRing::lock(directory.path()).expect("writable");
    (directory, ring, kid)
}

#[test]
fn init_creates_one_active_key_and_never_a_second_one() {
    let (directory, ring, kid) = ring_at(100);
    let slowest_clock = UnixTime(100 - CLOCK_SKEW.as_secs());
    assert_eq!(ring.read().expect("reads").sealing_key(slowest_clock).map(Key::kid), Some(kid));
    drop(ring);
    let again = LockedRing::init(directory.path(), LIFETIME, UnixTime(100));
    assert!(matches!(again, Err(ChangeError::NotEmpty(_))));
}

#[test]
fn init_creates_no_key_if_there_is_an_unreadable_key() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("broken.key"), "").expect("writes");
    let outcome = LockedRing::init(directory.path(), LIFETIME, UnixTime(100));
    assert!(matches!(outcome, Err(ChangeError::Ring(RingError::KeyFile { .. }))));
}

#[test]
fn rotation_refuses_an_empty_ring() {
    let directory = tempfile::tempdir().expect("a directory");
    let ring = LockedRing::lock(directory.path()).expect("writable");
    let outcome = ring.rotate(UnixTime(100), LIFETIME, UnixTime(100));
    assert!(matches!(outcome, Err(ChangeError::Ring(RingError::Empty { .. }))));
}

#[test]
fn a_rotated_key_seals_if_it_activates_in_the_same_second() {
    let (_directory, ring, _) = ring_at(100);
    for _ in 0..8 {
        let (kid, activates_at) = ring.rotate(UnixTime(100), LIFETIME, UnixTime(100)).expect("rotates");
        assert_eq!(ring.read().expect("reads").sealing_key(activates_at).map(Key::kid), Some(kid));
    }
}

#[test]
fn a_key_that_activates_now_is_active_before_a_scheduled_key() {
    let (_directory, ring, _) = ring_at(100);
    let (later, _) = ring.rotate(UnixTime(9_000), LIFETIME, UnixTime(200)).expect("rotates");
    let (kid, activates_at) = ring.rotate(UnixTime(200), LIFETIME, UnixTime(200)).expect("rotates");
    let read = ring.read().expect("reads");
    assert_eq!(activates_at, UnixTime(200));
    assert_eq!(read.sealing_key(UnixTime(200)).map(Key::kid), Some(kid));
    assert_eq!(read.sealing_key(UnixTime(9_000)).map(Key::kid), Some(later));
}

#[test]
fn an_unscheduled_key_seals_only_after_its_activation() {
    let (_directory, ring, first) = ring_at(100);
    let (kid, is_new) = ring.publish(&[], LIFETIME, UnixTime(200)).expect("publishes");
    let read = ring.read().expect("reads");
    assert!(is_new && read.opening_key(kid).is_ok());
    assert_eq!(read.sealing_key(UnixTime(u64::MAX)).map(Key::kid), Some(first));
    assert_eq!(ring.prune(&[], UnixTime(u64::MAX)).expect("prunes"), [], "an unscheduled key is never removed");
    assert_eq!(ring.activate(kid, UnixTime(300)).expect("activates"), UnixTime(300));
    let read = ring.read().expect("reads");
    assert_eq!(read.sealing_key(UnixTime(299)).map(Key::kid), Some(first));
    assert_eq!(read.sealing_key(UnixTime(300)).map(Key::kid), Some(kid));
    assert_eq!(
        ring.activate(kid, UnixTime(400)).expect("is active"),
        UnixTime(300),
        "a second activation changes nothing"
    );
}

#[test]
fn a_key_activated_in_the_same_second_as_another_seals() {
    for _ in 0..8 {
        let (_directory, ring, _) = ring_at(100);
        ring.rotate(UnixTime(100), LIFETIME, UnixTime(100)).expect("rotates");
        let (kid, _) = ring.publish(&[], LIFETIME, UnixTime(100)).expect("publishes");
        let activates_at = ring.activate(kid, UnixTime(100)).expect("activates");
        assert_eq!(activates_at, UnixTime(101));
        assert_eq!(ring.read().expect("reads").sealing_key(activates_at).map(Key::kid), Some(kid));
    }
}

#[test]
fn reuses_an_unscheduled_key_that_is_not_revoked() {
    let (directory, ring, _) = ring_at(100);
    let (unscheduled, _) = ring.publish(&[], LIFETIME, UnixTime(200)).expect("publishes");
    ring.rotate(UnixTime(9_000), LIFETIME, UnixTime(300)).expect("rotates");
    assert_eq!(ring.publish(&[], LIFETIME, UnixTime(300)).expect("reuses"), (unscheduled, false));
    revoke(ring, unscheduled, false, 400).expect("revokes");
    let ring = lock(&directory);
    assert!(matches!(ring.activate(unscheduled, UnixTime(400)), Err(ChangeError::Revoked(_))));
    let (other, is_new) = ring.publish(&[], LIFETIME, UnixTime(400)).expect("publishes");
    assert!(is_new && other != unscheduled);
    ring.activate(other, UnixTime(500)).expect("activates");
    assert!(ring.publish(&[], LIFETIME, UnixTime(500)).expect("publishes").1);
    assert!(matches!(ring.activate(Kid::from_bytes([0; 8]), UnixTime(500)), Err(ChangeError::NoSuchKey(_))));
}

#[test]
fn publishing_refuses_an_empty_ring() {
    let directory = tempfile::tempdir().expect("a directory");
    let ring = LockedRing::lock(directory.path()).expect("writable");
    let outcome = ring.publish(&[], LIFETIME, UnixTime(100));
    assert!(matches!(outcome, Err(ChangeError::Ring(RingError::Empty { .. }))));
}

#[test]
fn the_only_active_key_is_revoked_only_with_a_replacement() {
    let (directory, ring, kid) = ring_at(100);
    assert!(matches!(revoke(ring, kid, false, 110), Err(ChangeError::OnlyActive(_))));
    let replacement = revoke(lock(&directory), kid, true, 110).expect("revokes");
    let ring = lock(&directory);
    let read = ring.read().expect("reads");
    assert_eq!(read.sealing_key(UnixTime(110)).map(Key::kid), replacement);
    assert!(read.opening_key(kid).is_err());
    assert!(matches!(revoke(ring, Kid::from_bytes([0; 8]), true, 110), Err(ChangeError::NoSuchKey(_))));
}

#[test]
fn a_key_that_the_log_refuses_cannot_replace_another_key() {
    let (directory, ring, old) = ring_at(100);
    let (kid, _) = ring.rotate(UnixTime(105), LIFETIME, UnixTime(100)).expect("rotates");
    assert!(matches!(ring.begin_revoking(kid, false, &[old], UnixTime(110)), Err(ChangeError::OnlyActive(_))));
    let revocation = lock(&directory).begin_revoking(kid, true, &[old], UnixTime(110)).expect("a replacement");
    let replacement = revocation.replacement();
    assert!(revocation.ring.read().expect("reads").opening_key(kid).is_ok());
    revocation.finish().expect("revokes");
    let read = lock(&directory).read().expect("reads").with_refused_keys(&[old]);
    assert_eq!(
        (read.opening_key(kid).err(), read.sealing_key(UnixTime(110)).map(Key::kid)),
        (Some(NoKey::Revoked), replacement)
    );
    let again = lock(&directory).begin_revoking(kid, true, &[old, kid], UnixTime(120)).expect("a revoked key");
    assert_eq!(again.replacement(), None);
}

#[test]
fn a_replacement_seals_only_after_the_key_is_revoked() {
    let (directory, ring, kid) = ring_at(100);
    let revocation = ring.begin_revoking(kid, true, &[], UnixTime(110)).expect("a replacement");
    let replacement = revocation.replacement().expect("a replacement");
    let read = revocation.ring.read().expect("reads");
    assert!(read.opening_key(replacement).is_ok(), "nodes can already open with the replacement");
    assert_eq!(read.sealing_key(UnixTime(9_000)).map(Key::kid), Some(kid), "renewals still use the old key");
    revocation.finish().expect("revokes");
    let read = lock(&directory).read().expect("reads");
    assert_eq!(read.sealing_key(UnixTime(110)).map(Key::kid), Some(replacement));
    assert!(read.opening_key(kid).is_err());
}

#[test]
fn a_revoked_key_gets_a_replacement_if_no_key_seals() {
    let (directory, ring, kid) = ring_at(100);
    // The same file as after a manual edit, or after a command that was killed.
    let key = ring.read().expect("reads").keys()[0].dates;
    let secret = ring.read().expect("reads").keys()[0].secret.clone();
    ring.write(&Key::new(secret, Dates { revoked_at: Some(UnixTime(105)), ..key })).expect("writes");
    let without_replacement = ring.begin_revoking(kid, false, &[], UnixTime(110)).expect("begins");
    assert!(without_replacement.leaves_no_sealing_key() && without_replacement.replacement().is_none());
    drop(without_replacement);
    let replacement = revoke(lock(&directory), kid, true, 110).expect("revokes");
    assert!(replacement.is_some());
    assert_eq!(lock(&directory).read().expect("reads").sealing_key(UnixTime(110)).map(Key::kid), replacement);
    assert_eq!(revoke(lock(&directory), kid, true, 120).expect("nothing to do"), None, "another key seals now");
}

#[test]
fn the_only_key_can_be_revoked_if_the_log_refuses_it() {
    let (_directory, ring, kid) = ring_at(100);
    let revocation = ring.begin_revoking(kid, false, &[kid], UnixTime(110)).expect("the refused key seals on no node");
    assert!(revocation.leaves_no_sealing_key());
}

#[test]
fn a_revocation_lists_the_keys_that_renewed_sessions() {
    let (directory, ring, first) = ring_at(100);
    let [second, third, fourth] = [200, 300, 900]
        .map(|activates_at| ring.rotate(UnixTime(activates_at), LIFETIME, UnixTime(150)).expect("rotates").0);
    let renewing = |kid: Kid, refused: &[Kid], now| {
        let revocation = lock(&directory).begin_revoking(kid, true, refused, UnixTime(now)).expect("begins");
        revocation.keys_that_renewed().to_vec()
    };
    drop(ring);
    assert_eq!(renewing(first, &[], 100), []);
    assert_eq!(
        renewing(first, &[second], 400),
        [third],
        "the second key is refused, and the fourth has sealed nothing"
    );
    assert_eq!(renewing(third, &[], 400), [second, first], "both keys sealed while the third key was published");
    assert_eq!(
        renewing(fourth, &[], 400),
        [third, second, first],
        "the fourth key has opened tokens since its creation"
    );
    let (late, _) = lock(&directory).rotate(UnixTime(950), LIFETIME, UnixTime(900)).expect("rotates");
    assert_eq!(renewing(late, &[], 1000), [fourth], "the other keys had been replaced before its creation");
    let replacement = revoke(lock(&directory), late, true, 1000).expect("revokes").expect("a replacement");
    let again = renewing(late, &[], 1010);
    assert!(
        again.contains(&fourth) && !again.contains(&replacement),
        "the replacement has renewed no session of the key"
    );
}

#[test]
fn prunes_a_retired_key_when_its_last_token_has_expired() {
    let (_directory, ring, old) = ring_at(100);
    ring.rotate(UnixTime(200), LIFETIME, UnixTime(100)).expect("rotates");
    let last_expiry = 200 + LIFETIME.as_secs() + CLOCK_SKEW.as_secs();
    assert_eq!(ring.prune(&[], UnixTime(last_expiry)).expect("prunes"), []);
    assert_eq!(ring.prune(&[], UnixTime(last_expiry + 1)).expect("prunes"), [old]);
    assert_eq!(ring.prune(&[], UnixTime(u64::MAX)).expect("prunes"), [], "the active key is not removed");
}

#[test]
fn never_prunes_a_key_with_unlimited_lifetime() {
    let directory = tempfile::tempdir().expect("a directory");
    LockedRing::init(directory.path(), Duration::from_secs(u64::MAX), UnixTime(100)).expect("an empty directory");
    let ring = LockedRing::lock(directory.path()).expect("writable");
    ring.rotate(UnixTime(200), LIFETIME, UnixTime(100)).expect("rotates");
    assert_eq!(ring.prune(&[], UnixTime(9_000_000_000)).expect("prunes"), []);
}

fn lock(directory: &tempfile::TempDir) -> LockedRing {
    LockedRing::lock(directory.path()).expect("writable")
}

fn revoke(ring: LockedRing, kid: Kid, replace: bool, now: u64) -> Result<Option<Kid>, ChangeError> {
    let revocation = ring.begin_revoking(kid, replace, &[], UnixTime(now))?;
    let replacement = revocation.replacement();
    revocation.finish().map(|()| replacement)
}

#[test]
fn changes_the_directory_that_was_locked() {
    let (directory, _, _) = ring_at(100);
    let [keys, moved, other] = ["keys", "moved", "other"].map(|name| directory.path().join(name));
    LockedRing::init(&keys, LIFETIME, UnixTime(100)).expect("an empty directory");
    std::fs::create_dir(&other).expect("creates");
    let ring = LockedRing::lock(&keys).expect("writable");
    std::fs::rename(&keys, &moved).expect("renames");
    std::os::unix::fs::symlink(&other, &keys).expect("links");
    let (kid, _) = ring.rotate(UnixTime(200), LIFETIME, UnixTime(150)).expect("rotates");
    assert!(moved.join(format!("{kid}.key")).exists());
    assert_eq!(std::fs::read_dir(&other).expect("reads").count(), 0, "nothing is created in the other directory");
}

#[test]
fn a_key_that_the_log_refuses_retires_no_other_key() {
    let (_directory, ring, first) = ring_at(100);
    let (second, _) = ring.rotate(UnixTime(200), LIFETIME, UnixTime(200)).expect("rotates");
    let late = UnixTime(200 + 100 * LIFETIME.as_secs());
    assert_eq!(ring.prune(&[second], late).expect("prunes"), [second; 0], "the first key seals again");
    assert_eq!(ring.prune(&[], late).expect("prunes"), [first]);
}

#[test]
fn a_replacement_activates_after_a_key_that_has_just_activated() {
    let (directory, ring, first) = ring_at(100);
    let now = UnixTime(1_000);
    ring.rotate(now, LIFETIME, now).expect("rotates");
    let replacement = revoke(ring, first, true, now.0).expect("revokes");
    let sealing = lock(&directory).read().expect("reads").sealing_key(now.plus(Duration::from_secs(1))).map(Key::kid);
    assert_eq!(sealing, replacement);
}

#[test]
fn does_not_reuse_an_unscheduled_key_that_the_log_refuses() {
    let (_directory, ring, _) = ring_at(100);
    let (unscheduled, _) = ring.publish(&[], LIFETIME, UnixTime(200)).expect("publishes");
    let (other, is_new) = ring.publish(&[unscheduled], LIFETIME, UnixTime(200)).expect("publishes");
    assert!(is_new && other != unscheduled);
}
