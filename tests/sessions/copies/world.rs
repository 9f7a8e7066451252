//! State of a simulation: holders, nodes and requests in progress, and the queue of events in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, UnixTime};
use sealjar::id::Sid;
use sealjar::session::Refusal;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::Lifetime;

use super::history::{History, HistoryEvent};
use super::holder::{Actor, Habit, Holder, Rhythm};
use super::node::{Node, START};
use super::request::{Front, PROXY, Request, Token};
use super::rng::Rng;
use super::tally::Tally;
use super::{HOUR, MINUTE, SECOND};
use crate::fixture::{ALICE, SITE, lifetime};

/// Index of the owner's browser. All other holders are thieves.
pub(super) const OWNER: usize = 0;

/// Parameters of a simulation. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Time by which the clock of each node is ahead.
    pub(super) skews: Vec<i64>,
    pub(super) lifetime: Lifetime,
    pub(super) remembered: bool,
    pub(super) front: Front,
    /// Range of the network latency in each direction.
    pub(super) network: (u64, u64),
    /// Maximum time from a request to its response: D in the proof.
    pub(super) max_duration: u64,
    /// Number of requests per thousand that may take up to D.
    pub(super) slow: u64,
    /// Number of responses per thousand that are lost.
    pub(super) lost: u64,
    /// Mean time between two restarts of nodes, or 0 for no restarts.
    pub(super) restarts: u64,
    /// Mean time between two suspensions of the browser, or 0 for no suspensions.
    pub(super) suspends: u64,
    /// Memory for copy detection, in bytes.
    pub(super) memory: usize,
    /// Whether the browser is used often enough to keep its session. An expiry is then a failure.
    pub(super) is_steady: bool,
    /// Whether a logout of a single browser is a failure.
    pub(super) is_strict: bool,
}

pub(super) const ONE_NODE: &[i64] = &[0];

impl Default for Setup {
    fn default() -> Self {
        Self {
            skews: ONE_NODE.to_vec(),
            lifetime: lifetime(30 * 60, 12 * 3600),
            remembered: false,
            front: PROXY,
            network: (5, 300),
            max_duration: 119 * SECOND,
            slow: 0,
            lost: 0,
            restarts: 0,
            suspends: 0,
            memory: 1 << 16,
            is_steady: true,
            is_strict: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A habit sends its next requests.
    SendNext { actor: usize },
    /// A node checks the cookie of a request.
    Check { request: usize },
    /// The application replaces its data in a response.
    WriteData { request: usize },
    /// A response arrives at the holder.
    Arrive { request: usize },
    /// A node restarts.
    Restart,
    /// The browser of the owner is suspended.
    Suspend,
    /// A thief copies the cookie of the owner.
    Steal { thief: usize, again_after: u64 },
    /// A node reads the revocation of a session from the store.
    ReadRevocation { node: usize, ended: usize },
}

/// State of a simulation.
pub(super) struct World {
    /// Simulated time in milliseconds.
    pub(super) at: u64,
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) setup: Setup,
    pub(super) nodes: Vec<Node>,
    pub(super) holders: Vec<Holder>,
    pub(super) actors: Vec<Actor>,
    /// Requests by number.
    pub(super) requests: Vec<Request>,
    /// Numbers of finished requests, which are reused.
    pub(super) free_numbers: Vec<usize>,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    events: u64,
    pub(super) tokens: u64,
    /// Sessions that were revoked, each with the time of the commit and its absolute deadline.
    pub(super) ended: Vec<(u64, Sid, UnixTime)>,
    /// Time of the first theft, and the number of renewals in the latest stolen cookie.
    pub(super) stolen: Option<(u64, u64)>,
    /// Time at which a copy was found.
    pub(super) caught: Option<u64>,
    pub(super) tally: Tally,
    pub(super) history: History,
}

impl World {
    /// Creates a world in which the owner's browser has these habits.
    pub(super) fn new(seed: u64, setup: Setup, habits: &[Habit]) -> Self {
        let nodes = setup.skews.iter().map(|skew| Node::start(setup.lifetime, setup.memory, *skew)).collect();
        let mut world = Self {
            at: HOUR,
            seed,
            rng: Rng::new(seed),
            nodes,
            holders: vec![Holder::default()],
            actors: Vec::new(),
            requests: Vec::new(),
            free_numbers: Vec::new(),
            queue: BinaryHeap::new(),
            events: 0,
            tokens: 0,
            ended: Vec::new(),
            stolen: None,
            caught: None,
            tally: Tally::default(),
            history: History::default(),
            setup,
        };
        world.sign_in();
        habits.iter().for_each(|habit| world.begin(OWNER, *habit));
        let restarts = world.setup.restarts;
        let suspends = world.setup.suspends;
        world.plan(restarts, Event::Restart);
        world.plan(suspends, Event::Suspend);
        world
    }

    /// Adds a thief, who copies the cookie after `delay`, and again every `again_after` if this is not 0.
    pub(super) fn add_thief(&mut self, delay: u64, again_after: u64, habits: &[Habit]) {
        let thief = self.holders.len();
        self.holders.push(Holder::default());
        self.queue(delay, Event::Steal { thief, again_after });
        for habit in habits {
            self.actors.push(Actor { holder: thief, habit: *habit, waiting: 0 });
        }
    }

    /// Runs the simulation for this time, or until a copy is found.
    pub(super) fn run(&mut self, span: u64) -> &mut Self {
        let end = self.at + span;
        let start = self.at;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > end || self.caught.is_some() {
                break;
            }
            self.at = at;
            self.handle(event);
        }
        self.tally.time += self.at - start;
        self
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::SendNext { actor } => self.send_next(actor),
            Event::Check { request } => self.check(request),
            Event::WriteData { request } => self.write_data(request),
            Event::Arrive { request } => self.arrive(request),
            Event::Restart => self.restart(),
            Event::Suspend => self.suspend(),
            Event::Steal { thief, again_after } => self.steal(thief, again_after),
            Event::ReadRevocation { node, ended } => {
                let (_, sid, expires_at) = self.ended[ended];
                self.nodes[node].add_revocation(sid, expires_at);
            }
        }
    }

    pub(super) fn queue(&mut self, delay: u64, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((self.at + delay, self.events, event)));
    }

    /// Schedules the next occurrence of a repeated event with this mean interval. An interval of 0 disables the event.
    fn plan(&mut self, mean: u64, event: Event) {
        if mean > 0 {
            let delay = self.rng.uniform((mean / 2, mean * 3 / 2));
            self.queue(delay, event);
        }
    }

    /// Logs the owner in on a random node.
    pub(super) fn sign_in(&mut self) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let Node { sessions, .. } = &self.nodes[node];
        let now = self.nodes[node].now(self.at);
        let sealed = sessions.sign_in(&ALICE, Methods::PASSWORD, self.setup.remembered, b"data", SITE, now);
        let token = self.token(&sealed.expect("a key seals"));
        self.history.add(self.at, HistoryEvent::SignedIn { holder: OWNER, token: token.number });
        let owner = &mut self.holders[OWNER];
        owner.jar = Some(token);
        owner.is_excused = false;
        owner.newest = 0;
        self.tally.sign_ins += 1;
    }

    pub(super) fn token(&mut self, sealed: &sealjar::session::SealedSession) -> Rc<Token> {
        self.tokens += 1;
        Token::new(self.tokens, sealed)
    }

    /// Adds a habit of a holder, and schedules its first requests.
    pub(super) fn begin(&mut self, holder: usize, habit: Habit) {
        self.actors.push(Actor { holder, habit, waiting: 0 });
        let delay = self.rng.below(MINUTE);
        self.queue(delay, Event::SendNext { actor: self.actors.len() - 1 });
    }

    fn restart(&mut self) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        self.nodes[node].restart(self.setup.lifetime, self.setup.memory);
        self.history.add(self.at, HistoryEvent::Restarted { node });
        for (committed, sid, expires_at) in &self.ended {
            if *committed <= self.at {
                self.nodes[node].add_revocation(*sid, *expires_at);
            }
        }
        self.plan(self.setup.restarts, Event::Restart);
    }

    /// Suspends the browser for up to six hours. The responses to its requests are lost.
    fn suspend(&mut self) {
        let for_ms = self.rng.log_uniform((MINUTE, 6 * HOUR));
        self.history.add(self.at, HistoryEvent::Slept { holder: OWNER, for_ms });
        let owner = &mut self.holders[OWNER];
        owner.suspends += 1;
        owner.is_excused = true;
        owner.asleep_until = self.at + for_ms;
        for actor in 0..self.actors.len() {
            let Actor { holder, habit, waiting } = &mut self.actors[actor];
            if *holder == OWNER && std::mem::take(waiting) > 0 && matches!(habit.rhythm, Rhythm::After(..)) {
                let delay = for_ms + self.rng.below(5 * SECOND);
                self.queue(delay, Event::SendNext { actor });
            }
        }
        self.plan(self.setup.suspends, Event::Suspend);
    }

    /// Copies the cookie of the owner to a thief.
    fn steal(&mut self, thief: usize, again_after: u64) {
        let copy = self.holders[OWNER].jar.clone().expect("the owner is logged in");
        self.history.add(self.at, HistoryEvent::Copied { thief, token: copy.number });
        let renewals = self.renewals(&copy);
        let is_first = self.holders[thief].jar.is_none();
        self.holders[thief].jar = Some(copy);
        self.holders[thief].newest = 0;
        self.stolen = Some((self.stolen.map_or(self.at, |(at, _)| at), renewals));
        for actor in 0..self.actors.len() {
            let Actor { holder, habit, .. } = self.actors[actor];
            if is_first && holder == thief && !matches!(habit.rhythm, Rhythm::WithOwner) {
                let delay = self.rng.below(MINUTE);
                self.queue(delay, Event::SendNext { actor });
            }
        }
        if again_after > 0 {
            self.queue(again_after, Event::Steal { thief, again_after });
        }
    }

    /// Handles the arrival of a refusal. The owner logs in again.
    pub(super) fn handle_refusal(&mut self, holder: usize, token: &Token, refusal: Refusal) {
        let Holder { jar, is_excused, .. } = &self.holders[holder];
        if holder != OWNER || self.caught.is_some() || jar.as_deref() != Some(token) {
            return;
        }
        let latest_time = START.plus(Duration::from_millis(self.at)).plus(CLOCK_SKEW).plus(Duration::from_secs(1));
        let may_have_ended = latest_time >= token.absolute_deadline;
        if refusal == Refusal::Expired && !may_have_ended {
            self.tally.expired += 1;
            if self.setup.is_steady && self.setup.is_strict && !is_excused {
                self.fail("a session in use expired");
            }
        } else if refusal != Refusal::Expired && self.setup.is_strict && self.stolen.is_none() {
            self.fail("a single browser was logged out");
        }
        self.sign_in();
    }

    /// Panics, and prints the history and the parameters of the simulation.
    pub(super) fn fail(&self, failure: &str) -> ! {
        let habits: Vec<_> = self.actors.iter().map(|actor| (actor.holder, actor.habit)).collect();
        panic!("{}{failure}: seed {}, {:#?}, {habits:#?}", self.history, self.seed, self.setup);
    }
}
