//! Tests of the revocation list: refusal, retention and pruning, with entries in any order.

use super::*;
use proptest::prelude::*;

fn list() -> RevocationList {
    RevocationList::new(Freshness { max_staleness: Duration::from_secs(10), when_stale: WhenStale::Refuse })
}

fn sid(number: u8) -> Sid {
    Sid::from_bytes([number; 16])
}

fn session(number: u8, expires_at: u64) -> Entry {
    Entry::Session { sid: sid(number), expires_at: UnixTime(expires_at) }
}

fn at(wall: u64, boot: u64) -> Now {
    Now { wall: UnixTime(wall), boot: Duration::from_secs(boot) }
}

#[test]
fn refuses_pending_entries_and_durable_entries() {
    let list = list();
    assert!(!list.refuses_session(sid(1)));
    assert!(list.add_pending(sid(1), UnixTime(100)), "the entry is new");
    assert!(!list.add_pending(sid(1), UnixTime(100)), "the entry is already pending");
    assert!(list.refuses_session(sid(1)) && !list.is_durable(sid(1)));
    list.add_durable(&session(1, 100));
    assert!(list.refuses_session(sid(1)) && list.is_durable(sid(1)));
    assert_eq!(list.pending.load(Ordering::Acquire), 0);
    assert!(!list.add_pending(sid(1), UnixTime(100)), "the entry is already durable");
}

/// If two threads detect a copy of one session, the second may add its entry after the entry of the first was committed. The
/// second entry would never be committed, so it must not count as pending until the absolute deadline.
#[test]
fn a_durable_entry_is_not_pending_again() {
    let list = list();
    list.add_durable(&session(1, 100));
    assert!(!list.add_pending(sid(1), UnixTime(1_000)));
    assert_eq!(list.pending(), 0);
    assert_eq!(list.pending.load(Ordering::Acquire), 0);
    assert!(list.refuses_session(sid(1)));
}

/// A commit that was too late is in the log nevertheless. The follower may read it before the entry is committed again.
#[test]
fn an_entry_read_from_the_log_refuses_and_is_not_durable() {
    let list = list();
    list.add_logged(&session(1, 100));
    assert!(list.refuses_session(sid(1)) && !list.is_durable(sid(1)));
    assert!(list.add_pending(sid(1), UnixTime(1_000)), "this process must commit it");
    assert!(!list.add_pending(sid(1), UnixTime(1_000)), "it must be committed only once");
    list.add_logged(&session(1, 100));
    assert!(!list.is_durable(sid(1)), "an entry that is read from the log does not become durable");
    assert_eq!((list.pending(), list.pending.load(Ordering::Acquire)), (1, 1));
    list.add_durable(&session(1, 200));
    list.add_logged(&session(1, 100));
    assert!(list.is_durable(sid(1)), "an entry that was committed in time stays durable");
    assert_eq!((list.pending(), list.pending.load(Ordering::Acquire)), (0, 0));
    list.add_logged(&Entry::Subject { sub: "s".into(), below: 5, expires_at: UnixTime(100) });
    assert!(list.refuses_account("s", 4) && !list.is_durable_below("s", 5));
}

#[test]
fn a_pending_entry_outlives_the_row_of_its_late_commit() {
    let list = list();
    list.add_pending(sid(1), UnixTime(1_000));
    list.add_logged(&session(1, 100));
    list.add_pending_below("s", 5);
    list.add_logged(&Entry::Subject { sub: "s".into(), below: 5, expires_at: UnixTime(100) });
    list.add_logged(&Entry::Subject { sub: "other".into(), below: 5, expires_at: UnixTime(100) });
    list.prune(UnixTime(500));
    assert!(list.refuses_session(sid(1)) && list.refuses_account("s", 4));
    assert!(!list.refuses_account("other", 4), "this account has no pending entry");
}

#[test]
fn a_pending_generation_is_kept_until_it_is_committed() {
    let list = list();
    assert_eq!([5, 5, 4].map(|below| list.add_pending_below("s", below)), [true, false, false]);
    assert!(list.refuses_generation("s", 4, 0) && !list.refuses_generation("s", 5, 0));
    assert!(!list.is_durable_below("s", 5));
    list.prune(UnixTime(1_000));
    assert!(list.refuses_generation("s", 4, 0), "pending entries are not pruned");
    list.add_durable(&Entry::Subject { sub: "s".into(), below: 5, expires_at: UnixTime(2_000) });
    assert!(list.is_durable_below("s", 5) && !list.is_durable_below("s", 6));
    list.prune(UnixTime(2_001));
    assert!(!list.refuses_generation("s", 4, 0));
}

#[test]
fn prunes_at_the_expiry_and_sets_the_earliest_time() {
    let list = list();
    list.add_durable(&session(1, 100));
    list.add_pending(sid(2), UnixTime(100));
    list.prune(UnixTime(100));
    assert_eq!(list.len(), 2);
    list.prune(UnixTime(101));
    assert_eq!(list.len(), 0);
    assert_eq!(list.pending.load(Ordering::Acquire), 0);
    assert_eq!(list.time(at(50, 0)), UnixTime(101), "a clock that is set back does not make pruned sessions valid");
    assert_eq!(list.time(at(150, 0)), UnixTime(150));
}

#[test]
fn accepts_sessions_until_max_staleness_by_the_boot_clock() {
    let list = list();
    assert!(!list.may_accept_sessions(at(0, 1)), "the list was never read");
    list.mark_synced(at(0, 1000));
    assert!(list.may_accept_sessions(at(9_999, 1010)));
    assert!(!list.may_accept_sessions(at(0, 1011)));
}

#[test]
fn a_read_is_recent_for_max_staleness_by_the_boot_clock() {
    let list = list();
    assert!(list.is_recent(at(0, 1000), at(9_999, 1010)));
    assert!(!list.is_recent(at(0, 1000), at(0, 1011)));
    let fail_open = RevocationList::new(Freshness { when_stale: WhenStale::Allow, ..list.freshness });
    assert!(!fail_open.is_recent(at(0, 1000), at(0, 1011)));
}

proptest! {
    // Few cases, because each case creates two lists of some MiB.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn delivery_twice_and_in_any_order_changes_nothing(
        entries in proptest::collection::vec((0u8..4, 0u64..5, 0u64..50), 1..20), order: u64,
    ) {
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(number, below, expires)| match number % 2 {
                0 => session(number, expires),
                _ => Entry::Subject { sub: number.to_string().into(), below, expires_at: UnixTime(expires) },
            })
            .collect();
        let once = list();
        let repeated = list();
        entries.iter().for_each(|entry| once.add_durable(entry));
        let start = usize::try_from(order % entries.len() as u64).expect("small");
        for entry in entries.iter().rev().chain(entries.iter().cycle().skip(start).take(entries.len())) {
            repeated.add_durable(entry);
        }
        let view = |list: &RevocationList| {
            let mut sessions = list.sessions.entries();
            let subjects = list.subjects.entries().into_iter();
            let mut subjects: Vec<_> = subjects.map(|(sub, entry)| (sub, entry.below, entry.expires_at)).collect();
            sessions.sort();
            subjects.sort();
            (sessions, subjects)
        };
        prop_assert_eq!(view(&once), view(&repeated));
    }
}
