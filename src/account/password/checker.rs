//! Threads that check passwords.
//!
//! Hashing is the one slow thing that a stranger can ask for. A fixed number of threads does it, at low priority, each with its
//! own memory; the [`queue`] before them is short, and a full one is an answer ([`Overloaded`]). A thread *is* the permit:
//! whoever asked may hang up, but the thread is free only when the work is done.
//!
//! A panic ends the job and not the thread: without threads, nobody could sign in.

pub(crate) mod queue;
mod spare;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::account::password::{Argon2id, Budget, Cost, Stored, Verdict, check_uncommon};
use crate::account::{BadPassword, Password, Profile};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::metrics::{HASHING, HASHING_NOW};
pub(crate) use queue::Overloaded;
use queue::{Lane, Queue};
use spare::Spare;

/// Below ordinary work, so that sign-ins do not slow down requests that only verify.
const NICENESS: i32 = 10;

/// The names of the threads begin with it. Their panics may quote a password.
pub(crate) const THREAD_NAME: &str = "password-";

/// A thread panics while it checks this password.
#[cfg(test)]
pub(crate) const PANICS: &str = "the password that a thread panics at";

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// All threads are busy and the queue is full.
    Overloaded,
    /// The thread panicked.
    Failed,
}

impl From<Overloaded> for NotDone {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

enum Job {
    Verify {
        password: Password,
        stored: Option<String>,
        may_sign_in: bool,
        reply: oneshot::Sender<Verdict>,
    },
    HashNew {
        password: Password,
        profile: Box<Profile>,
        reply: oneshot::Sender<Result<String, BadPassword>>,
    },
    /// Takes a thread until the sender is dropped.
    #[cfg(test)]
    Hold(std::sync::mpsc::Receiver<()>),
}

/// The threads that check passwords.
#[derive(Debug)]
pub(crate) struct Checker {
    jobs: Arc<Queue<Job>>,
    threads: u32,
}

impl Checker {
    /// Starts the threads; they end when this is dropped. What the threads' own memory leaves of `budget_kib` is for
    /// stored hashes that ask for more than today's cost.
    pub(crate) fn start(cost: Cost, threads: u32, queue: usize, budget_kib: u32) -> std::io::Result<Self> {
        let jobs = Arc::new(Queue::new(queue));
        let budget = Budget::new(cost, threads, budget_kib);
        let spare = Arc::new(Spare::new(budget.spare_kib));
        for number in 0..threads {
            let (jobs, spare) = (jobs.clone(), spare.clone());
            let name = format!("{THREAD_NAME}{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&jobs, &spare, budget))?;
        }
        Ok(Self { jobs, threads })
    }

    /// How many threads there are.
    pub(crate) const fn threads(&self) -> u32 {
        self.threads
    }

    /// How many wait in the lanes of known claimants and of strangers, and how many may wait in each.
    pub(crate) fn waiting(&self) -> ([usize; 2], usize) {
        self.jobs.waiting()
    }

    /// Checks a password against a stored hash, or against one that nobody has, in the same time; no account may sign in with that.
    pub(crate) async fn verify(
        &self,
        lane: Lane,
        password: Password,
        stored: Option<String>,
        may_sign_in: bool,
    ) -> Result<Verdict, NotDone> {
        let (reply, verdict) = oneshot::channel();
        self.jobs.push(lane, Job::Verify { password, stored, may_sign_in, reply })?;
        verdict.await.map_err(|_| NotDone::Failed)
    }

    /// Hashes a new password, if it is not too common. Whoever sets one has just given the old one.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        profile: Profile,
    ) -> Result<Result<String, BadPassword>, NotDone> {
        let (reply, hash) = oneshot::channel();
        let profile = Box::new(profile);
        self.jobs.push(Lane::Known, Job::HashNew { password, profile, reply })?;
        hash.await.map_err(|_| NotDone::Failed)
    }

    /// Takes a thread, so that nothing is checked if there is one alone, until the sender is dropped.
    #[cfg(test)]
    pub(crate) fn hold_thread(&self) -> std::sync::mpsc::SyncSender<()> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        self.jobs.push(Lane::Known, Job::Hold(receiver)).expect("the queue is empty");
        sender.send(()).expect("a thread takes the job");
        sender
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

fn work(jobs: &Queue<Job>, spare: &Spare, budget: Budget) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at ordinary priority");
    }
    // A panic drops the job, so its client hears of it. It is logged by the hook for panics. All that the job may have left half
    // changed is dropped and made again: the memory, the decoy, and the times of the last hashes.
    while catch_unwind(AssertUnwindSafe(|| do_jobs(jobs, spare, budget))).is_err() {}
}

/// Does jobs until the queue is closed.
fn do_jobs(jobs: &Queue<Job>, spare: &Spare, budget: Budget) {
    let mut argon2id = Argon2id::warmed_up(budget.cost);
    let decoy = argon2id.decoy();
    while let Some(job) = jobs.pop() {
        // The receiver may be gone by the time the work is done: it was done all the same.
        match job {
            Job::Verify { password, stored, may_sign_in, reply } if !reply.is_closed() => {
                let stored = stored.as_deref().unwrap_or(&decoy);
                let check = || verify(&mut argon2id, spare, budget, &password, stored, may_sign_in);
                let _ = reply.send(measured(&HASHING_NOW, check));
            }
            Job::HashNew { password, profile, reply } if !reply.is_closed() => {
                let hash = || check_uncommon(&password, &profile).map(|()| argon2id.hash(&password));
                let _ = reply.send(measured(&HASHING_NOW, hash));
            }
            Job::Verify { .. } | Job::HashNew { .. } => {}
            #[cfg(test)]
            Job::Hold(until) => until.iter().for_each(drop),
        }
    }
}

/// Does one password's work, and counts it. `now` is the number of those under way, and counts no work that panicked.
fn measured<T>(now: &AtomicU64, work: impl FnOnce() -> T) -> T {
    struct UnderWay<'a>(&'a AtomicU64);
    impl Drop for UnderWay<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let began = Now::read().boot;
    now.fetch_add(1, Ordering::Relaxed);
    let under_way = UnderWay(now);
    let done = work();
    drop(under_way);
    HASHING.observe(Now::read().boot.saturating_sub(began));
    done
}

fn verify(
    argon2id: &mut Argon2id,
    spare: &Spare,
    budget: Budget,
    password: &Password,
    stored: &str,
    may_sign_in: bool,
) -> Verdict {
    sampled!(DEBUG, "checking a password");
    #[cfg(test)]
    assert!(password.expose_text() != PANICS, "as the test wants it");
    let parsed = Stored::parse(stored).filter(|stored| budget.suffices_for(stored.cost));
    if parsed.is_none() {
        sampled!(
            ERROR,
            "a stored password hash cannot be checked, so no password is accepted for its account; for the account and the remedy, run: sealjar doctor"
        );
    }
    let _taken = parsed.as_ref().map(|stored| spare.take(budget.extra_kib(stored.cost)));
    argon2id.verify(password, parsed.as_ref(), may_sign_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use zeroize::Zeroizing;

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    #[tokio::test]
    async fn a_full_queue_is_an_answer_and_a_place_is_kept_until_taken() {
        let checker = Checker { jobs: Arc::new(Queue::new(1)), threads: 0 };
        let verify = || checker.verify(Lane::Strange, password("x"), None, true);
        let taken = || {
            let Some(Job::Verify { reply, .. }) = checker.jobs.pop() else { panic!("it is still queued") };
            reply
        };
        let mut first = Box::pin(verify());
        assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err(), "it waits for a thread");
        assert_eq!(verify().await, Err(NotDone::Overloaded));
        drop(first);
        assert_eq!(verify().await, Err(NotDone::Overloaded), "hanging up frees nothing");
        assert!(taken().is_closed());
        let answer = async { taken().send(Verdict::Refused).expect("somebody waits") };
        assert_eq!(tokio::join!(verify(), answer).0, Ok(Verdict::Refused));
    }

    #[tokio::test]
    async fn a_panic_costs_its_job_and_no_thread() {
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let checker = Checker::start(cost, 1, 8, 64).expect("a thread starts");
        let stored = super::super::hash(cost, &password("correct horse"));
        for _ in 0..2 {
            let panicked = checker.verify(Lane::Known, password(PANICS), None, true).await;
            assert_eq!(panicked, Err(NotDone::Failed));
            let verdict = checker.verify(Lane::Known, password("correct horse"), Some(stored.clone()), true);
            let verdict = tokio::time::timeout(Duration::from_secs(60), verdict).await.expect("the thread lives");
            assert_eq!(verdict, Ok(Verdict::Accepted { rehashed: None }));
        }
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
        let own = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let stored = super::super::hash(Cost { memory_kib: 128, ..own }, &password("correct horse"));
        let check = |spare_kib| {
            let budget = Budget { cost: own, spare_kib };
            let spare = Spare::new(spare_kib);
            verify(&mut Argon2id::new(own), &spare, budget, &password("correct horse"), &stored, true)
        };
        assert_eq!(check(63), Verdict::Unusable);
        assert_eq!(check(64), Verdict::Accepted { rehashed: None });
    }
}
