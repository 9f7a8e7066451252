//! Tests of copy detection: the table of verdicts, and the memory limit.

use super::Verdict::{Copy, Keep, Renew};
use super::*;

fn link(number: u64) -> Link {
    Link::from_bytes(number.to_be_bytes())
}

/// Returns the record of a token with this link, which is presented at the second `since` of the boot clock.
fn token(renewals: u32, since: u32, parent: u64, own_link: u64) -> Record {
    Record { renewals, since, link: link(own_link), parent: link(parent) }
}

/// A test case: the relation of the token to the newest token, the token, the expected verdict, and the new record if it changes.
type Case = (&'static str, Record, Verdict, Option<Record>);

#[test]
fn judges_a_token_by_the_first_row_that_applies() {
    const NEWEST: u64 = 50;
    let newest = token(5, 1000, 40, NEWEST);
    let cases: [Case; 17] = [
        ("the newest token itself", token(5, 1500, 40, NEWEST), Renew, None),
        ("its child", token(6, 1500, NEWEST, 60), Renew, Some(token(6, 1500, NEWEST, 60))),
        ("a child of another token", token(6, 1500, 51, 60), Copy, None),
        ("a child of its parent, with one more renewal", token(6, 1500, 40, 60), Copy, None),
        ("two more renewals", token(7, 1500, 60, 70), Renew, Some(token(7, 1500, 60, 70))),
        ("two more renewals, with the same parent", token(7, 1500, 40, 70), Renew, Some(token(7, 1500, 40, 70))),
        ("many more renewals", token(u32::MAX, 1500, 60, 70), Renew, Some(token(u32::MAX, 1500, 60, 70))),
        ("its sibling", token(5, 1500, 40, 51), Renew, Some(token(5, 1000, 40, 51))),
        ("the same number of renewals, with another parent", token(5, 1500, 41, 51), Copy, None),
        ("its parent, at the same time", token(4, 1000, 30, 40), Keep, None),
        ("its parent, 90 s later", token(4, 1090, 30, 40), Keep, None),
        ("its parent, 91 s later", token(4, 1091, 30, 40), Copy, None),
        ("its parent, earlier by the boot clock", token(4, 900, 30, 40), Keep, None),
        ("a sibling of its parent", token(4, 1000, 30, 41), Copy, None),
        ("its grandparent", token(3, 1000, 20, 30), Copy, None),
        ("two renewals fewer, with its parent's link", token(3, 1000, 20, 40), Copy, None),
        ("the start of the chain", token(0, 1000, 0, 1), Copy, None),
    ];
    for (relation, token, verdict, new_record) in cases {
        assert_eq!(judge(Some(newest), token), (verdict, new_record), "{relation}");
    }
    let first = token(5, 1500, 40, 50);
    assert_eq!(judge(None, first), (Renew, Some(first)), "there is no record");
}

fn chain(number: u64) -> Chain {
    // Distributed over tables and shards, like random ids.
    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&bits.to_be_bytes());
    bytes[8..].copy_from_slice(&bits.rotate_left(29).to_le_bytes());
    Chain::from_bytes(bytes)
}

fn judge_in(chains: &Chains, number: u64, record: Record) -> Verdict {
    chains.judge_record(chain(number), record, true)
}

#[test]
fn chains_do_not_affect_each_other() {
    let chains = Chains::new(DEFAULT_MEMORY_BYTES);
    for number in 0..1000 {
        assert_eq!(judge_in(&chains, number, token(7, 0, 6, number)), Renew);
    }
    for number in 0..1000 {
        assert_eq!(judge_in(&chains, number, token(8, 400, number, 8)), Renew);
        assert_eq!(judge_in(&chains, number, token(7, 800, 6, number)), Copy);
    }
    assert_eq!(chains.usage().chains, 1000);
}

/// If such a token were remembered and one of two siblings arrived late, two nodes could each remember a different sibling. The
/// child of one sibling would then be judged as a copy on the node that remembers the other sibling.
#[test]
fn does_not_remember_a_token_whose_response_may_not_renew() {
    let chains = Chains::new(DEFAULT_MEMORY_BYTES);
    let judge = |record, may_renew| chains.judge_record(chain(0), record, may_renew);
    assert_eq!(judge(token(7, 0, 6, 7), false), Renew);
    assert_eq!(chains.usage().chains, 0);
    assert_eq!(judge(token(7, 0, 6, 7), true), Renew);
    assert_eq!(judge(token(8, 400, 7, 8), false), Renew);
    assert_eq!(judge(token(8, 400, 7, 80), true), Renew, "a sibling of a token that is not remembered");
    assert_eq!(judge(token(9, 800, 8, 9), false), Copy, "its parent is not the remembered token");
    assert_eq!(judge(token(9, 800, 80, 9), true), Renew);
    assert_eq!(judge(token(7, 800, 6, 7), false), Copy, "an old token is a copy even if the response may not renew");
}

#[test]
fn drops_chains_above_the_limit_and_reports_no_copy_for_them() {
    let chains = Chains::new(1 << 20);
    let MemoryUsage { capacity, .. } = chains.usage();
    let total = 4 * capacity as u64;
    for number in 0..total {
        assert_eq!(judge_in(&chains, number, token(7, 0, 6, number)), Renew);
    }
    let MemoryUsage { chains: remembered, dropped, .. } = chains.usage();
    assert!(remembered <= capacity && remembered > capacity / 4, "{remembered} of {capacity}");
    assert_eq!(remembered as u64 + dropped, total, "each chain is remembered or dropped");
    // The first chains are dropped: even an older token is accepted.
    assert_eq!(judge_in(&chains, 0, token(3, 400, 2, 0)), Renew);
    // The last chains are not dropped.
    assert_eq!(judge_in(&chains, total - 1, token(3, 400, 2, 0)), Copy);
}

#[test]
fn finds_chains_in_the_older_map() {
    let chains = Chains::new(1 << 20);
    // A few more than the capacity of all newer maps.
    let total = chains.usage().capacity as u64 * 6 / 10;
    for number in 0..total {
        judge_in(&chains, number, token(7, 0, 6, number));
    }
    assert_eq!(chains.usage().dropped, 0);
    // These chains move to the newer maps, whose capacity must suffice for all of them.
    for number in 0..total / 10 {
        assert_eq!(judge_in(&chains, number, token(5, 0, 4, 5)), Copy, "chain {number} of {total}");
    }
}

#[test]
fn remembers_a_chain_that_is_in_use_while_others_are_dropped() {
    let chains = Chains::new(1 << 20);
    let MemoryUsage { capacity, .. } = chains.usage();
    for number in 1..4 * capacity as u64 {
        judge_in(&chains, number, token(0, 0, 0, number));
        if number % 64 == 0 {
            assert_eq!(judge_in(&chains, 0, token(7, 0, 6, 1)), Renew);
        }
    }
    assert_eq!(judge_in(&chains, 0, token(5, 0, 4, 5)), Copy, "the chain in use is remembered");
}

#[test]
fn memory_is_within_the_limit_and_enough_for_700_000_chains() {
    for limit in [1 << 20, DEFAULT_MEMORY_BYTES, 1 << 30] {
        let chains = Chains::new(limit);
        let slots = chains.shards.len() * 2 * TABLE_SLOTS;
        assert!(slots * (size_of::<(Chain, Record)>() + 1) + chains.shards.len() * size_of::<Mutex<Shard>>() <= limit);
    }
    // At least half of the capacity is always available for chains that are in use.
    assert!(Chains::new(DEFAULT_MEMORY_BYTES).usage().capacity / 2 >= 700_000);
    assert_eq!(size_of::<(Chain, Record)>(), 40);
}

#[test]
fn a_full_table_has_the_assumed_number_of_slots() {
    let mut table = Table::default();
    for number in 0..TABLE_CAPACITY as u64 {
        table.insert(chain(number), token(0, 0, 0, 0));
    }
    assert_eq!(table.capacity(), TABLE_CAPACITY, "{TABLE_SLOTS} slots");
}
