use super::Verdict::{Copy, Keep, Renew};
use super::*;

fn link(name: u64) -> Link {
    Link::from_bytes(name.to_be_bytes())
}

/// A token of the given number of renewals, at this second.
fn token(renewals: u32, since: u32, parent: u64, own: u64) -> Record {
    Record { renewals, since, link: link(own), parent: link(parent) }
}

/// A row of the table: the token, the verdict, and what is remembered afterwards if that changes.
type Row = (&'static str, Record, Verdict, Option<Record>);

#[test]
fn a_token_is_judged_by_the_first_row_that_fits() {
    const NEWEST: u64 = 50;
    let newest = token(5, 1000, 40, NEWEST);
    let rows: [Row; 17] = [
        ("itself", token(5, 1500, 40, NEWEST), Renew, None),
        ("its child", token(6, 1500, NEWEST, 60), Renew, Some(token(6, 1500, NEWEST, 60))),
        ("a child of another", token(6, 1500, 51, 60), Copy, None),
        ("a child of its parent, one further", token(6, 1500, 40, 60), Copy, None),
        ("two ahead", token(7, 1500, 60, 70), Renew, Some(token(7, 1500, 60, 70))),
        ("two ahead, of the same parent", token(7, 1500, 40, 70), Renew, Some(token(7, 1500, 40, 70))),
        ("far ahead", token(u32::MAX, 1500, 60, 70), Renew, Some(token(u32::MAX, 1500, 60, 70))),
        ("its sibling", token(5, 1500, 40, 51), Renew, Some(token(5, 1000, 40, 51))),
        ("a token as old, of another parent", token(5, 1500, 41, 51), Copy, None),
        ("its parent, at once", token(4, 1000, 30, 40), Keep, None),
        ("its parent, 90 s later", token(4, 1090, 30, 40), Keep, None),
        ("its parent, 91 s later", token(4, 1091, 30, 40), Copy, None),
        ("its parent, before it by the boot clock", token(4, 900, 30, 40), Keep, None),
        ("a sibling of its parent", token(4, 1000, 30, 41), Copy, None),
        ("its grandparent", token(3, 1000, 20, 30), Copy, None),
        ("two renewals behind, with its parent's link", token(3, 1000, 20, 40), Copy, None),
        ("the start of the chain", token(0, 1000, 0, 1), Copy, None),
    ];
    for (name, token, verdict, remembered) in rows {
        assert_eq!(judge(Some(newest), token), (verdict, remembered), "{name}");
    }
    let first = token(5, 1500, 40, 50);
    assert_eq!(judge(None, first), (Renew, Some(first)), "nothing is known");
}

fn chain(number: u64) -> Chain {
    // Spread over tables and shards, as random ids are.
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
fn chains_do_not_know_each_other() {
    let chains = Chains::new(DEFAULT_MEMORY);
    for number in 0..1000 {
        assert_eq!(judge_in(&chains, number, token(7, 0, 6, number)), Renew);
    }
    for number in 0..1000 {
        assert_eq!(judge_in(&chains, number, token(8, 400, number, 8)), Renew);
        assert_eq!(judge_in(&chains, number, token(7, 800, 6, number)), Copy);
    }
    assert_eq!(chains.usage().chains, 1000);
}

/// Else two siblings, of which one arrived late, are each remembered on another node, and the child of one does not fit the other.
#[test]
fn a_token_whose_answer_may_not_renew_is_only_judged() {
    let chains = Chains::new(DEFAULT_MEMORY);
    let judge = |record, may_renew| chains.judge_record(chain(0), record, may_renew);
    assert_eq!(judge(token(7, 0, 6, 7), false), Renew);
    assert_eq!(chains.usage().chains, 0);
    assert_eq!(judge(token(7, 0, 6, 7), true), Renew);
    assert_eq!(judge(token(8, 400, 7, 8), false), Renew);
    assert_eq!(judge(token(8, 400, 7, 80), true), Renew, "a sibling of a token that is not remembered");
    assert_eq!(judge(token(9, 800, 8, 9), false), Copy, "it is judged by what is remembered");
    assert_eq!(judge(token(9, 800, 80, 9), true), Renew);
    assert_eq!(judge(token(7, 800, 6, 7), false), Copy, "an old one is a copy whatever the answer may do");
}

#[test]
fn forgets_within_its_memory_and_takes_nobody_for_a_copy() {
    let chains = Chains::new(1 << 20);
    let Memory { capacity, .. } = chains.usage();
    let many = 4 * capacity as u64;
    for number in 0..many {
        assert_eq!(judge_in(&chains, number, token(7, 0, 6, number)), Renew);
    }
    let Memory { chains: held, dropped, .. } = chains.usage();
    assert!(held <= capacity && held > capacity / 4, "{held} of {capacity}");
    assert_eq!(held as u64 + dropped, many, "each is remembered or dropped");
    // The first are forgotten: even a token that is older than the last one passes.
    assert_eq!(judge_in(&chains, 0, token(3, 400, 2, 0)), Renew);
    // The last are not.
    assert_eq!(judge_in(&chains, many - 1, token(3, 400, 2, 0)), Copy);
}

#[test]
fn the_older_generation_is_looked_at() {
    let chains = Chains::new(1 << 20);
    // A little more than the newer maps have room for.
    let many = chains.usage().capacity as u64 * 6 / 10;
    for number in 0..many {
        judge_in(&chains, number, token(7, 0, 6, number));
    }
    assert_eq!(chains.usage().dropped, 0);
    // These move to the newer maps, and there must be room for all.
    for number in 0..many / 10 {
        assert_eq!(judge_in(&chains, number, token(5, 0, 4, 5)), Copy, "chain {number} of {many}");
    }
}

#[test]
fn a_chain_in_use_stays_while_others_come_and_go() {
    let chains = Chains::new(1 << 20);
    let Memory { capacity, .. } = chains.usage();
    for number in 1..4 * capacity as u64 {
        judge_in(&chains, number, token(0, 0, 0, number));
        if number % 64 == 0 {
            assert_eq!(judge_in(&chains, 0, token(7, 0, 6, 1)), Renew);
        }
    }
    assert_eq!(judge_in(&chains, 0, token(5, 0, 4, 5)), Copy, "it is remembered");
}

#[test]
fn memory_is_within_the_limit_and_enough_for_what_is_stated() {
    for memory in [1 << 20, DEFAULT_MEMORY, 1 << 30] {
        let chains = Chains::new(memory);
        let places = chains.shards.len() * 2 * PLACES;
        assert!(
            places * (size_of::<(Chain, Record)>() + 1) + chains.shards.len() * size_of::<Mutex<Shard>>() <= memory
        );
    }
    // At least half of the capacity is always there for chains in use.
    assert!(Chains::new(DEFAULT_MEMORY).usage().capacity / 2 >= 700_000);
    assert_eq!(size_of::<(Chain, Record)>(), 40);
}

#[test]
fn a_table_at_its_largest_has_the_places_that_are_counted() {
    let mut table = Table::default();
    for number in 0..TABLE_CAPACITY as u64 {
        table.insert(chain(number), token(0, 0, 0, 0));
    }
    assert_eq!(table.capacity(), TABLE_CAPACITY, "{PLACES} places");
}
