//! Threads that check passwords.
//!
//! Hashing is the one slow thing that a stranger can ask for. A fixed number of threads does it, at low priority. The [`queue`] in
//! front of them is short, and if it is full, the answer is [`Overloaded`]. A thread *is* the permit: the client may hang up, but the
//! thread is free only when the work is done.
//!
//! A thread takes memory for each job, and the memory is freed after [`MEMORY_KEPT_FOR`] without a job ([`FreeList`]).
//!
//! A panic ends the job and not the thread: without threads, nobody could sign in.

pub(crate) mod queue;
mod spare;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::account::password::memory::{FreeList, OutOfMemory};
use crate::account::password::{Argon2id, Budget, Cost, Stored, Verdict, check_uncommon, decoy};
use crate::account::{BadPassword, Password, Profile};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::metrics::{HASHING, HASHING_NOW};
pub(crate) use queue::Overloaded;
use queue::{Lane, Next, Queue};
use spare::Spare;

/// Below ordinary work, so that sign-ins do not slow down requests that only verify.
pub(crate) const NICENESS: i32 = 10;

/// Time for which unused memory is kept for the next jobs.
const MEMORY_KEPT_FOR: Duration = Duration::from_secs(60);

/// The names of the threads begin with it. Their panics may quote a password.
pub(crate) const THREAD_NAME: &str = "password-";

/// A thread panics while it checks this password.
#[cfg(test)]
pub(crate) const PANICS: &str = "the password that a thread panics at";

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// All threads are busy and the queue is full, or there is no memory.
    Overloaded,
    /// The thread panicked.
    Failed,
}

impl From<Overloaded> for NotDone {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<OutOfMemory> for NotDone {
    fn from(error: OutOfMemory) -> Self {
        sampled!(
            ERROR,
            %error,
            "a password was not checked; give the server more memory, or lower password.threads or password.memory_kib"
        );
        Self::Overloaded
    }
}

enum Job {
    Verify {
        password: Password,
        stored: Option<String>,
        may_sign_in: bool,
        reply: oneshot::Sender<Result<Verdict, NotDone>>,
    },
    HashNew {
        password: Password,
        profile: Box<Profile>,
        reply: oneshot::Sender<Result<Result<String, BadPassword>, NotDone>>,
    },
    /// Takes a thread until the sender is dropped.
    #[cfg(test)]
    Hold(std::sync::mpsc::Receiver<()>),
}

/// The threads that check passwords.
#[derive(Debug)]
pub(crate) struct Checker {
    shared: Arc<Shared>,
    threads: u32,
}

impl Checker {
    /// Starts the threads; they end when this is dropped. The part of `budget_kib` that the threads do not need is for stored hashes
    /// of a higher cost than today's.
    pub(crate) fn start(cost: Cost, threads: u32, queue: usize, budget_kib: u32) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(queue, Budget::new(cost, threads, budget_kib)));
        for number in 0..threads {
            let shared = shared.clone();
            let name = format!("{THREAD_NAME}{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&shared))?;
        }
        Ok(Self { shared, threads })
    }

    /// How many threads there are.
    pub(crate) const fn threads(&self) -> u32 {
        self.threads
    }

    /// How many wait in the lanes of known claimants and of strangers, and how many may wait in each.
    pub(crate) fn waiting(&self) -> ([usize; 2], usize) {
        self.shared.jobs.waiting()
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
        self.shared.jobs.push(lane, Job::Verify { password, stored, may_sign_in, reply })?;
        verdict.await.unwrap_or(Err(NotDone::Failed))
    }

    /// Hashes a new password, if it is not too common. Whoever sets one has just given the old one.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        profile: Profile,
    ) -> Result<Result<String, BadPassword>, NotDone> {
        let (reply, hash) = oneshot::channel();
        let profile = Box::new(profile);
        self.shared.jobs.push(Lane::Known, Job::HashNew { password, profile, reply })?;
        hash.await.unwrap_or(Err(NotDone::Failed))
    }

    /// Takes a thread, so that nothing is checked if there is one alone, until the sender is dropped.
    #[cfg(test)]
    pub(crate) fn hold_thread(&self) -> std::sync::mpsc::SyncSender<()> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        self.shared.jobs.push(Lane::Known, Job::Hold(receiver)).expect("the queue is empty");
        sender.send(()).expect("a thread takes the job");
        sender
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.shared.jobs.close();
    }
}

/// Shared by the threads.
#[derive(Debug)]
struct Shared {
    jobs: Queue<Job>,
    free: FreeList,
    spare: Spare,
    budget: Budget,
}

impl Shared {
    fn new(queue: usize, budget: Budget) -> Self {
        let free = FreeList::new(budget.cost.blocks());
        Self { jobs: Queue::new(queue), free, spare: Spare::new(budget.spare_kib), budget }
    }

    /// Computes hashes with the memory that was used last, and keeps it for the next. A panic frees it.
    fn with_memory<T>(
        &self,
        argon2id: &mut Argon2id,
        stored: Option<Cost>,
        compute: impl FnOnce(&mut Argon2id) -> T,
    ) -> Result<T, OutOfMemory> {
        argon2id.prepare(self.free.take(), stored)?;
        let computed = compute(argon2id);
        self.free.put(argon2id.take_memory(), Now::read().boot);
        Ok(computed)
    }

    /// Waits for a job, and frees memory meanwhile. Returns `None` when the queue is closed and empty.
    fn next_job(&self) -> Option<Job> {
        loop {
            // A thread that waits without a limit is woken by a job only. The thread that puts memory back waits next, so there is
            // always one with a limit while there is memory to free.
            let limit = (!self.free.is_empty()).then_some(MEMORY_KEPT_FOR);
            match self.jobs.pop(limit) {
                Next::Job(job) => return Some(job),
                Next::Closed => return None,
                Next::TimedOut => self.free.free_unused_since(Now::read().boot.saturating_sub(MEMORY_KEPT_FOR)),
            }
        }
    }
}

fn work(shared: &Shared) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at ordinary priority");
    }
    // A panic drops the job, so its client hears of it. It is logged by the hook for panics. All that the job may have left half
    // changed is dropped and made again: the memory, the decoy, and the times of the last hashes.
    while catch_unwind(AssertUnwindSafe(|| do_jobs(shared))).is_err() {}
}

/// Does jobs until the queue is closed.
fn do_jobs(shared: &Shared) {
    let mut argon2id = Argon2id::new(shared.budget.cost);
    let decoy = decoy(shared.budget.cost);
    while let Some(job) = shared.next_job() {
        // The receiver may be gone by the time the work is done: it was done all the same.
        match job {
            Job::Verify { password, stored, may_sign_in, reply } if !reply.is_closed() => {
                let stored = stored.as_deref().unwrap_or(&decoy);
                let check = || verify(&mut argon2id, shared, &password, stored, may_sign_in);
                let _ = reply.send(measured(&HASHING_NOW, check).map_err(NotDone::from));
            }
            Job::HashNew { password, profile, reply } if !reply.is_closed() => {
                let hash = || hash_new(&mut argon2id, shared, &password, &profile);
                let _ = reply.send(measured(&HASHING_NOW, hash).map_err(NotDone::from));
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

fn hash_new(
    argon2id: &mut Argon2id,
    shared: &Shared,
    password: &Password,
    profile: &Profile,
) -> Result<Result<String, BadPassword>, OutOfMemory> {
    if let Err(bad) = check_uncommon(password, profile) {
        return Ok(Err(bad));
    }
    shared.with_memory(argon2id, None, |argon2id| Ok(argon2id.hash(password)))
}

fn verify(
    argon2id: &mut Argon2id,
    shared: &Shared,
    password: &Password,
    stored: &str,
    may_sign_in: bool,
) -> Result<Verdict, OutOfMemory> {
    sampled!(DEBUG, "checking a password");
    #[cfg(test)]
    assert!(password.expose_text() != PANICS, "as the test wants it");
    let Shared { spare, budget, .. } = shared;
    let parsed = Stored::parse(stored).filter(|stored| budget.suffices_for(stored.cost));
    if parsed.is_none() {
        sampled!(
            ERROR,
            "a stored password hash cannot be checked, so no password is accepted for its account; for the account and the remedy, run: sealjar doctor"
        );
    }
    let _taken = parsed.as_ref().map(|stored| spare.take(budget.extra_kib(stored.cost)));
    let cost = parsed.as_ref().map(|stored| stored.cost);
    shared.with_memory(argon2id, cost, |argon2id| argon2id.verify(password, parsed.as_ref(), may_sign_in))
}
