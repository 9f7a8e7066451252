//! The rate limits for passwords: attackers, the user whose account they attack, and other users.

use super::*;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;

const LIMITS: Limits = Limits {
    network: Rate { burst: 20, interval: Duration::from_secs(6) },
    account_and_network: Rate { burst: 5, interval: Duration::from_secs(60) },
    account: Rate { burst: 50, interval: Duration::from_secs(60) },
    success: Rate { burst: 60, interval: Duration::from_secs(60) },
};
const NOW: Duration = Duration::from_secs(1_000);

fn name(text: &str) -> LoginName {
    text.parse().expect("a login name")
}

fn live(number: u8) -> Option<OwnSession> {
    Some(OwnSession::Live(Sid::from_bytes([number; 16])))
}

fn network(number: u32) -> Network {
    IpAddr::V4(Ipv4Addr::from_bits(number)).into()
}

/// Makes one attempt that fails, if it is admitted.
fn fail(throttle: &Throttle, account: &str, from: u32) -> Result<(), Limit> {
    fail_with(throttle, account, network(from), None)
}

fn fail_with(throttle: &Throttle, account: &str, from: Network, session: Option<OwnSession>) -> Result<(), Limit> {
    let attempt = LoginAttempt { account: &name(account), network: from, session };
    throttle.admit(attempt, NOW).map(AdmittedAttempt::record_failure).map_err(|throttled| throttled.by)
}

fn succeed(
    throttle: &Throttle,
    account: &str,
    from: u32,
    session: Option<OwnSession>,
    now: Duration,
) -> Result<(), Limit> {
    let attempt = LoginAttempt { account: &name(account), network: network(from), session };
    throttle.admit(attempt, now).map(|attempt| attempt.record_success(now)).map_err(|throttled| throttled.by)
}

/// Uses up the limit by account from many networks.
fn attack(throttle: &Throttle, account: &str) {
    let tries = (1_000..2_000).map(|from| fail(throttle, account, from));
    assert_eq!(tries.filter(Result::is_ok).count(), 50);
    assert_eq!(
        fail(throttle, account, 5_000),
        Err(Limit::Account),
        "a network without failures that is not known to the account"
    );
}

#[test]
fn failures_of_a_network_stop_no_other_network_or_account() {
    let throttle = Throttle::new(LIMITS);
    assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork));
    assert_eq!((fail(&throttle, "alice", 2), fail(&throttle, "bob", 1)), (Ok(()), Ok(())));
    let others = (0..100).map(|number| fail(&throttle, &format!("user{number}"), 1));
    assert_eq!(
        others.filter(Result::is_ok).count(),
        14,
        "the limit of the network is 20 for all accounts together, and 6 are used"
    );
    assert_eq!(fail(&throttle, "carol", 1), Err(Limit::Network));
}

#[test]
fn admits_the_user_during_an_attack_from_other_networks() {
    let throttle = Throttle::new(LIMITS);
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
    attack(&throttle, "alice");
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()), "from a network that is known to the account");
    assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Err(Limit::Account), "from a network that is not known");
    assert_eq!(
        succeed(&throttle, "alice", 2, live(1), NOW),
        Ok(()),
        "from the same network with a token of the account"
    );
    assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Ok(()), "after that login, its network is known");
    attack(&throttle, "bob");
    assert_eq!(
        succeed(&throttle, "bob", 1, None, NOW),
        Err(Limit::Account),
        "a network that is known to one account is not known to another"
    );
}

#[test]
fn a_network_is_known_for_thirty_days() {
    let throttle = Throttle::new(Limits { account: Rate { burst: 1, interval: KNOWN_FOR * 2 }, ..LIMITS });
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
    assert_eq!(fail(&throttle, "alice", 2), Ok(()));
    let almost = NOW + KNOWN_FOR - Duration::from_secs(1);
    let known = |now| throttle.admit(LoginAttempt { account: &name("alice"), network: network(1), session: None }, now);
    assert!(known(almost).is_ok());
    assert!(known(almost + Duration::from_secs(1)).is_err());
}

#[test]
fn a_stolen_token_allows_as_many_guesses_as_one_network() {
    let throttle = Throttle::new(LIMITS);
    attack(&throttle, "alice");
    let tries = (0..100).map(|from| fail_with(&throttle, "alice", network(from), live(1)));
    assert_eq!(tries.filter(Result::is_ok).count(), 5);
}

#[test]
fn a_thief_with_the_same_token_cannot_lock_the_user_out() {
    for session in [live(1), Some(OwnSession::Idle)] {
        let throttle = Throttle::new(LIMITS);
        assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
        let thief = (0..100).map(|from| fail_with(&throttle, "alice", network(1_000 + from), session));
        assert_eq!(thief.filter(Result::is_ok).count(), 5 + 50, "the limit of the token plus the limit by account");
        let attempt = LoginAttempt { account: &name("alice"), network: network(9), session };
        let throttled = throttle.admit(attempt, NOW).expect_err("the network is not known");
        assert_eq!(throttled.wait, Duration::from_secs(60));
        assert_eq!(succeed(&throttle, "alice", 1, session, NOW), Ok(()), "from a known network");
        assert!(fail_with(&throttle, "alice", network(9), session).is_err(), "the success does not help the thief");
    }
}

#[test]
fn tokens_of_an_account_have_at_most_sixteen_limits() {
    let throttle = Throttle::new(LIMITS);
    let tries = (0..100).flat_map(|token| (0..10).map(move |_| token));
    let tries = tries.map(|token| fail_with(&throttle, "alice", network(1), live(token)));
    // The 17th token counts as no token: five more attempts are admitted by account and network.
    assert_eq!(tries.filter(Result::is_ok).count(), 16 * 5 + 5);
    assert_eq!(fail_with(&throttle, "bob", network(2), live(1)), Ok(()), "another account has separate limits");
    let idle = || fail_with(&throttle, "carol", network(3), Some(OwnSession::Idle));
    assert_eq!(
        (0..100).filter(|_| idle().is_ok()).count(),
        5 + 5,
        "all sessions past their idle deadline share one limit"
    );
}

#[test]
fn tokens_have_no_advantage_if_their_limit_is_off() {
    let off = Rate { burst: 0, ..LIMITS.account_and_network };
    for session in [live(1), Some(OwnSession::Idle)] {
        let throttle = Throttle::new(Limits { account_and_network: off, ..LIMITS });
        let from_one_network = (0..1_000).map(|_| fail_with(&throttle, "alice", network(1), session));
        assert_eq!(from_one_network.filter(Result::is_ok).count(), 20, "the limit of the network");
        let from_many_networks = (2..1_000).map(|from| fail_with(&throttle, "alice", network(from), session));
        assert_eq!(
            from_many_networks.filter(Result::is_ok).count(),
            30,
            "the rest of the limit of the account, which is 50"
        );
    }
}

#[test]
fn attackers_in_the_same_network_do_not_lock_a_token_out() {
    let throttle = Throttle::new(LIMITS);
    attack(&throttle, "alice");
    let others = (0..40).filter(|number| fail(&throttle, &format!("user{number}"), 1).is_ok());
    assert_eq!(others.count(), 20);
    assert!(succeed(&throttle, "alice", 1, None, NOW).is_err());
    assert_eq!(succeed(&throttle, "alice", 1, live(1), NOW), Ok(()));
    assert_eq!(
        succeed(&throttle, "bob", 1, None, NOW),
        Err(Limit::Network),
        "the success does not reset the limit by network"
    );
}

#[test]
fn a_token_of_another_account_is_charged_as_unknown_too() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let try_with = |token: u8| {
        let attempt = LoginAttempt { account: &alice, network: network(token.into()), session: live(token) };
        let mut attempt = throttle.admit(attempt, NOW).expect("the limit of the token is not reached");
        assert!(!attempt.is_unknown_client());
        attempt.charge_without_session(NOW);
        attempt
    };
    (0..10).for_each(|token| assert!(try_with(token).is_unknown_client()));
    for number in 0..40 {
        assert_eq!(fail(&throttle, "alice", 100 + number), Ok(()), "ten of the 50 attempts of the account are used");
    }
    assert_eq!(fail(&throttle, "alice", 200), Err(Limit::Account));
    let attempt = try_with(10);
    assert!(attempt.is_unknown_client(), "the client is unknown even if the limit by account is reached");
    attempt.record_success(NOW);
    assert_eq!(
        fail(&throttle, "alice", 200),
        Err(Limit::Account),
        "the limit by account was not charged, so it is not refunded"
    );
    try_with(9).record_success(NOW);
    assert_eq!(fail(&throttle, "alice", 200), Err(Limit::Account), "a charge is refunded once");
}

#[test]
fn ipv6_networks_of_one_site_share_a_limit() {
    let throttle = Throttle::new(LIMITS);
    let network_of_site = |site: u16, number: u16| Network::V6([0x2001, 0xdb8, site, number]);
    let tries =
        (0..1_000).map(|number| fail_with(&throttle, &format!("user{number}"), network_of_site(1, number), None));
    assert_eq!(tries.filter(Result::is_ok).count(), 200, "ten times the limit of a network, which is 20");
    assert_eq!(fail_with(&throttle, "zoe", network_of_site(1, 5_000), None), Err(Limit::Network));
    assert_eq!(fail_with(&throttle, "zoe", network_of_site(2, 0), None), Ok(()), "another site");
    assert_eq!(fail(&throttle, "zoe", 1), Ok(()), "IPv4");
}

#[test]
fn admits_sixty_correct_passwords_and_then_one_a_minute() {
    let throttle = Throttle::new(LIMITS);
    let minute = Duration::from_secs(60);
    assert!((0..60).all(|_| succeed(&throttle, "alice", 1, None, NOW).is_ok()));
    assert_eq!(succeed(&throttle, "alice", 1, live(1), NOW), Err(Limit::Success), "a token does not change this");
    assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Ok(()), "another network");
    assert!((0..50).all(|number| succeed(&throttle, &format!("user{number}"), 1, None, NOW).is_ok()));
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW + minute), Ok(()));
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW + minute), Err(Limit::Success));
    throttle.set_limits(Limits { success: Rate { burst: 0, ..LIMITS.success }, ..LIMITS });
    assert!((0..1_000).all(|_| succeed(&throttle, "alice", 1, None, NOW + minute).is_ok()), "0 means no limit");
}

#[test]
fn correct_passwords_of_one_ipv6_site_share_a_limit() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let successes = (0..2_000).map(|number| {
        let attempt = LoginAttempt { account: &alice, network: Network::V6([1, 2, 3, number]), session: None };
        throttle.admit(attempt, NOW).map(|attempt| attempt.record_success(NOW))
    });
    assert_eq!(successes.filter(Result::is_ok).count(), 600);
}

#[test]
fn a_success_resets_only_its_account_and_network() {
    let throttle = Throttle::new(LIMITS);
    for _ in 0..10 {
        assert!((0..4).all(|_| matches!(fail(&throttle, "alice", 1), Ok(()) | Err(Limit::Network))));
        let _ = succeed(&throttle, "alice", 1, None, NOW);
    }
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::Network), "the failures of the network are not reset");
    assert!((0..50).all(|_| succeed(&throttle, "bob", 2, None, NOW).is_ok()), "a success does not count as a failure");
}

#[test]
fn charges_attempts_at_once_and_refunds_unchecked_ones() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let admit = || throttle.admit(LoginAttempt { account: &alice, network: network(1), session: None }, NOW);
    let mut waiting: Vec<_> = (0..5).map(|_| admit().expect("admitted")).collect();
    assert_eq!(admit().expect_err("five attempts are in progress").wait, Duration::from_secs(60));
    waiting.pop().expect("one of five").record_unchecked();
    waiting.push(admit().expect("one attempt was refunded"));
    drop(waiting);
    assert!(admit().is_err(), "attempts without a recorded outcome count as failures");
}

#[test]
fn a_flood_of_names_uses_no_more_memory_and_resets_no_limit() {
    let throttle = Throttle::new(LIMITS);
    assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
    // Three times as many as a table of counts has slots.
    for number in 0..200_000 {
        assert_eq!(fail(&throttle, &format!("user{number}"), 1_000 + number), Ok(()));
    }
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork), "the key with the most failures is kept");
    let Tables { counts, known, in_progress, .. } = &*throttle.tables();
    assert!(in_progress.is_empty());
    let bytes: usize = counts.iter().chain([known]).map(table::Table::bytes).sum();
    println!("the throttle takes {bytes} bytes after 200,000 accounts and networks");
    assert_eq!(bytes, 9 << 20);
}

#[tokio::test]
async fn an_attempt_waits_for_attempts_in_progress() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let attempt = LoginAttempt { account: &alice, network: network(1), session: None };
    let admit_or_wait = || Box::pin(throttle.admit_or_wait(attempt, || NOW));
    let mut in_progress = Vec::new();
    for _ in 0..5 {
        in_progress.push(admit_or_wait().await.expect("admitted"));
    }
    let mut waiting = admit_or_wait();
    assert!(is_pending(&mut waiting).await);
    in_progress.pop().expect("one of five").record_success(NOW);
    let admitted = waiting.await.expect("the success resets the failures of account and network");
    drop((in_progress, admitted));
    assert!(throttle.tables().in_progress.is_empty());

    let bob = name("bob");
    let attempt = LoginAttempt { account: &bob, network: network(2), session: None };
    let mut in_progress: Vec<_> = (0..5).map(|_| throttle.admit(attempt, NOW).expect("admitted")).collect();
    let mut waiting = Box::pin(throttle.admit_or_wait(attempt, || NOW));
    for _ in 0..5 {
        assert!(is_pending(&mut waiting).await, "an attempt in progress may still succeed");
        drop(in_progress.pop());
    }
    assert_eq!(waiting.await.expect_err("all have failed").by, Limit::AccountAndNetwork);
}

#[tokio::test]
async fn refuses_attempts_beyond_the_limit_of_waiting_ones() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let attempt = LoginAttempt { account: &alice, network: network(1), session: None };
    let in_progress: Vec<_> = (0..5).map(|_| throttle.admit(attempt, NOW).expect("admitted")).collect();
    let mut waiting: Vec<_> = (0..256).map(|_| Box::pin(throttle.admit_or_wait(attempt, || NOW))).collect();
    for waiting in &mut waiting {
        assert!(is_pending(waiting).await);
    }
    assert!(throttle.admit_or_wait(attempt, || NOW).await.is_err());
    drop(in_progress);
    for waiting in waiting {
        assert!(waiting.await.is_err());
    }
}

/// Polls a future once. Returns whether it is still pending.
async fn is_pending<T>(waiting: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(Pin::new(&mut *waiting).poll(context).is_pending())).await
}
