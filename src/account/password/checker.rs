//! Threads that check passwords.
//!
//! Hashing is the one slow thing that a stranger can ask for. A fixed number of threads does it, at low priority, each with its
//! own memory; the [`queue`] before them is short, and a full one is an answer ([`Overloaded`]). A thread *is* the permit:
//! whoever asked may hang up, but the thread is free only when the work is done.

pub(crate) mod queue;
mod spare;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::account::password::{Argon2id, Cost, Stored, Verdict, check_uncommon};
use crate::account::{BadField, Password, Profile};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::metrics::{HASHING, HASHING_NOW};
pub(crate) use queue::Overloaded;
use queue::{Lane, Queue};
use spare::Spare;

/// Below ordinary work, so that sign-ins do not slow down requests that only verify.
const NICENESS: i32 = 10;

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
        reply: oneshot::Sender<Result<String, BadField>>,
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
        let spare = Arc::new(Spare::new(budget_kib.saturating_sub(threads.saturating_mul(cost.memory_kib))));
        for number in 0..threads {
            let (jobs, spare) = (jobs.clone(), spare.clone());
            let name = format!("password-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&jobs, &spare, cost))?;
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
    ) -> Result<Verdict, Overloaded> {
        let (reply, verdict) = oneshot::channel();
        self.jobs.push(lane, Job::Verify { password, stored, may_sign_in, reply })?;
        verdict.await.map_err(|_| Overloaded)
    }

    /// Hashes a new password, if it is not too common. Whoever sets one has just given the old one.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        profile: Profile,
    ) -> Result<Result<String, BadField>, Overloaded> {
        let (reply, hash) = oneshot::channel();
        let profile = Box::new(profile);
        self.jobs.push(Lane::Known, Job::HashNew { password, profile, reply })?;
        hash.await.map_err(|_| Overloaded)
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

fn work(jobs: &Queue<Job>, spare: &Spare, cost: Cost) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at ordinary priority");
    }
    let mut argon2id = Argon2id::warmed_up(cost);
    let decoy = argon2id.decoy();
    while let Some(job) = jobs.pop() {
        // The receiver may be gone by the time the work is done: it was done all the same.
        match job {
            Job::Verify { password, stored, may_sign_in, reply } if !reply.is_closed() => {
                let stored = stored.as_deref().unwrap_or(&decoy);
                let _ = reply.send(measured(|| verify(&mut argon2id, spare, &password, stored, may_sign_in)));
            }
            Job::HashNew { password, profile, reply } if !reply.is_closed() => {
                let hash = || check_uncommon(&password, &profile).map(|()| argon2id.hash(&password));
                let _ = reply.send(measured(hash));
            }
            Job::Verify { .. } | Job::HashNew { .. } => {}
            #[cfg(test)]
            Job::Hold(until) => until.iter().for_each(drop),
        }
    }
}

/// Does one password's work, and counts it.
fn measured<T>(work: impl FnOnce() -> T) -> T {
    let began = Now::read().boot;
    HASHING_NOW.fetch_add(1, Ordering::Relaxed);
    let done = work();
    HASHING_NOW.fetch_sub(1, Ordering::Relaxed);
    HASHING.observe(Now::read().boot.saturating_sub(began));
    done
}

fn verify(argon2id: &mut Argon2id, spare: &Spare, password: &Password, stored: &str, may_sign_in: bool) -> Verdict {
    sampled!(DEBUG, "checking a password");
    let more_kib = |stored: &Stored| stored.cost.memory_kib.saturating_sub(argon2id.cost.memory_kib);
    let parsed = Stored::parse(stored).filter(|stored| more_kib(stored) <= spare.total_kib);
    if parsed.is_none() {
        sampled!(
            ERROR,
            "a stored password hash cannot be checked, or asks for more memory than password.memory_budget_kib leaves; raise that, or set the password again with: sealjar users passwd"
        );
    }
    let _taken = parsed.as_ref().map(|stored| spare.take(more_kib(stored)));
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
        assert_eq!(verify().await, Err(Overloaded));
        drop(first);
        assert_eq!(verify().await, Err(Overloaded), "hanging up frees nothing");
        assert!(taken().is_closed());
        let answer = async { taken().send(Verdict::Refused).expect("somebody waits") };
        assert_eq!(tokio::join!(verify(), answer).0, Ok(Verdict::Refused));
    }

    #[test]
    fn refuses_a_stored_hash_that_asks_for_more_than_the_budget() {
        let own = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let stored = super::super::hash(Cost { memory_kib: 128, ..own }, &password("correct horse"));
        let check =
            |spare| verify(&mut Argon2id::new(own), &Spare::new(spare), &password("correct horse"), &stored, true);
        assert_eq!(check(63), Verdict::Refused);
        assert_eq!(check(64), Verdict::Accepted { rehashed: None });
    }
}
