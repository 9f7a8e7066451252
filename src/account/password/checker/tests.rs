//! A checker with one cheap thread.

use super::*;
use zeroize::Zeroizing;

const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned()))
}

#[tokio::test]
async fn a_full_queue_is_an_answer_and_a_place_is_kept_until_taken() {
    let checker = Checker { shared: Arc::new(Shared::new(1, Budget::new(CHEAP, 0, 0))), threads: 0 };
    let verify = || checker.verify(Lane::Strange, password("x"), None, true);
    let taken = || {
        let Next::Job(Job::Verify { reply, .. }) = checker.shared.jobs.pop(None) else { panic!("it is still queued") };
        reply
    };
    let mut first = Box::pin(verify());
    assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err(), "it waits for a thread");
    assert_eq!(verify().await, Err(NotDone::Overloaded));
    drop(first);
    assert_eq!(verify().await, Err(NotDone::Overloaded), "hanging up frees nothing");
    assert!(taken().is_closed());
    let answer = async { taken().send(Ok(Verdict::Refused)).expect("somebody waits") };
    assert_eq!(tokio::join!(verify(), answer).0, Ok(Verdict::Refused));
}

#[tokio::test]
async fn a_panic_costs_its_job_and_no_thread() {
    let checker = Checker::start(CHEAP, 1, 8, 64).expect("a thread starts");
    let stored = crate::account::password::hash(CHEAP, &password("correct horse"));
    for _ in 0..2 {
        let panicked = checker.verify(Lane::Known, password(PANICS), None, true).await;
        assert_eq!(panicked, Err(NotDone::Failed));
        let verdict = checker.verify(Lane::Known, password("correct horse"), Some(stored.clone()), true);
        let verdict = tokio::time::timeout(Duration::from_secs(60), verdict).await.expect("the thread lives");
        assert_eq!(verdict, Ok(Verdict::Accepted { rehashed: None }));
    }
}

#[tokio::test]
async fn a_job_gets_the_memory_of_the_one_before() {
    let checker = Checker::start(CHEAP, 1, 8, 256).expect("a thread starts");
    let costly = crate::account::password::hash(Cost { memory_kib: 128, ..CHEAP }, &password("correct horse"));
    let check = async |stored: Option<String>| {
        checker.verify(Lane::Known, password("correct horse"), stored, true).await.expect("checked");
    };
    assert!(checker.shared.free.is_empty(), "nothing is allocated before the first job");
    check(None).await;
    assert!(!checker.shared.free.is_empty());
    check(Some(costly)).await;
    assert!(checker.shared.free.is_empty(), "larger memory is not kept");
}

#[test]
fn work_that_panics_is_not_under_way_any_more() {
    let now = AtomicU64::new(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| measured(&now, || panic!("as the test wants it"))));
    assert!(outcome.is_err());
    assert_eq!(now.load(Ordering::Relaxed), 0);
}

#[test]
fn refuses_a_stored_hash_that_asks_for_more_than_the_budget() {
    let stored = crate::account::password::hash(Cost { memory_kib: 128, ..CHEAP }, &password("correct horse"));
    let check = |spare_kib| {
        let shared = Shared::new(1, Budget { cost: CHEAP, spare_kib });
        verify(&mut Argon2id::new(CHEAP), &shared, &password("correct horse"), &stored, true)
    };
    assert_eq!(check(63), Ok(Verdict::Unusable));
    assert_eq!(check(64), Ok(Verdict::Accepted { rehashed: None }));
}
