//! Holders, nodes and what is under way between them, in simulated time: a queue of events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, UnixTime};
use sealjar::id::Sid;
use sealjar::session::Refusal;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::Lifetime;

use super::history::{Happened, History};
use super::holder::{Actor, Habit, Holder, Rhythm};
use super::node::{Node, START};
use super::request::{Front, PROXY, Request, Token};
use super::rng::Rng;
use super::tally::Tally;
use super::{HOUR, MINUTE, SECOND};
use crate::fixture::{ALICE, SITE, lifetime};

/// The owner's browser. All other holders are thieves.
pub(super) const OWNER: usize = 0;

/// The circumstances. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// How far the clock of each node is ahead.
    pub(super) skews: Vec<i64>,
    pub(super) lifetime: Lifetime,
    pub(super) remembered: bool,
    pub(super) front: Front,
    /// Time on the network, each way.
    pub(super) network: (u64, u64),
    /// D.
    pub(super) longest: u64,
    /// How many of a thousand requests take up to D.
    pub(super) slow: u64,
    /// How many of a thousand answers are lost.
    pub(super) lost: u64,
    /// Mean time between two restarts of nodes, and between two suspends of the browser; 0 for none.
    pub(super) restarts: u64,
    pub(super) suspends: u64,
    /// Memory for copy detection, in bytes.
    pub(super) memory: usize,
    /// The browser is in use often enough for its session not to end.
    pub(super) is_steady: bool,
    /// A lone browser must not be signed out.
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
            longest: 119 * SECOND,
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
    Act { actor: usize },
    Check { request: usize },
    Answer { request: usize },
    Arrive { request: usize },
    Restart,
    Suspend,
    Steal { thief: usize, again_after: u64 },
    Learn { node: usize, ended: usize },
}

pub(super) struct World {
    pub(super) at: u64,
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) setup: Setup,
    pub(super) nodes: Vec<Node>,
    pub(super) holders: Vec<Holder>,
    pub(super) actors: Vec<Actor>,
    /// Requests by number. The numbers of those that are over are used again.
    pub(super) requests: Vec<Request>,
    pub(super) over: Vec<usize>,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    events: u64,
    pub(super) tokens: u64,
    /// Sessions that ended, with the time at which the store has it.
    pub(super) ended: Vec<(u64, Sid, UnixTime)>,
    /// When the thief took the cookie, and its number of renewals.
    pub(super) stolen: Option<(u64, u64)>,
    pub(super) caught: Option<u64>,
    pub(super) tally: Tally,
    pub(super) history: History,
}

impl World {
    /// A browser with these habits.
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
            over: Vec::new(),
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
        let (restarts, suspends) = (world.setup.restarts, world.setup.suspends);
        world.plan(restarts, Event::Restart);
        world.plan(suspends, Event::Suspend);
        world
    }

    /// A thief takes the cookie this much later, and again after this time if it is not 0.
    pub(super) fn thief(&mut self, later: u64, again_after: u64, habits: &[Habit]) {
        let thief = self.holders.len();
        self.holders.push(Holder::default());
        self.queue(later, Event::Steal { thief, again_after });
        for habit in habits {
            self.actors.push(Actor { holder: thief, habit: *habit, waiting: 0 });
        }
    }

    /// Lets time pass, or less if a thief is caught.
    pub(super) fn run(&mut self, span: u64) -> &mut Self {
        let end = self.at + span;
        let begun = self.at;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > end || self.caught.is_some() {
                break;
            }
            self.at = at;
            self.take(event);
        }
        self.tally.time += self.at - begun;
        self
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Act { actor } => self.act(actor),
            Event::Check { request } => self.check(request),
            Event::Answer { request } => self.answer(request),
            Event::Arrive { request } => self.arrive(request),
            Event::Restart => self.restart(),
            Event::Suspend => self.suspend(),
            Event::Steal { thief, again_after } => self.steal(thief, again_after),
            Event::Learn { node, ended } => {
                let (_, sid, expires_at) = self.ended[ended];
                self.nodes[node].learn(sid, expires_at);
            }
        }
    }

    pub(super) fn queue(&mut self, later: u64, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((self.at + later, self.events, event)));
    }

    /// An event that comes again and again, this often on average.
    fn plan(&mut self, mean: u64, event: Event) {
        if mean > 0 {
            let later = self.rng.even((mean / 2, mean * 3 / 2));
            self.queue(later, event);
        }
    }

    pub(super) fn sign_in(&mut self) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let Node { sessions, .. } = &self.nodes[node];
        let now = self.nodes[node].now(self.at);
        let sealed = sessions.sign_in(&ALICE, Methods::PASSWORD, self.setup.remembered, b"data", SITE, now);
        let token = self.token(&sealed.expect("a key seals"));
        self.history.add(self.at, Happened::SignedIn { holder: OWNER, token: token.number });
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

    pub(super) fn begin(&mut self, holder: usize, habit: Habit) {
        self.actors.push(Actor { holder, habit, waiting: 0 });
        let later = self.rng.below(MINUTE);
        self.queue(later, Event::Act { actor: self.actors.len() - 1 });
    }

    fn restart(&mut self) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        self.nodes[node].restart(self.setup.lifetime, self.setup.memory);
        self.history.add(self.at, Happened::Restarted { node });
        for (committed, sid, expires_at) in &self.ended {
            if *committed <= self.at {
                self.nodes[node].learn(*sid, *expires_at);
            }
        }
        self.plan(self.setup.restarts, Event::Restart);
    }

    /// The browser does nothing for up to six hours, and what was under way is lost.
    fn suspend(&mut self) {
        let for_ms = self.rng.skewed((MINUTE, 6 * HOUR));
        self.history.add(self.at, Happened::Slept { holder: OWNER, for_ms });
        let owner = &mut self.holders[OWNER];
        owner.suspends += 1;
        owner.is_excused = true;
        owner.asleep_until = self.at + for_ms;
        for actor in 0..self.actors.len() {
            let Actor { holder, habit, waiting } = &mut self.actors[actor];
            if *holder == OWNER && std::mem::take(waiting) > 0 && matches!(habit.rhythm, Rhythm::After(..)) {
                let later = for_ms + self.rng.below(5 * SECOND);
                self.queue(later, Event::Act { actor });
            }
        }
        self.plan(self.setup.suspends, Event::Suspend);
    }

    fn steal(&mut self, thief: usize, again_after: u64) {
        let copy = self.holders[OWNER].jar.clone().expect("signed in");
        self.history.add(self.at, Happened::Copied { thief, token: copy.number });
        let renewals = self.renewals(&copy);
        let is_first = self.holders[thief].jar.is_none();
        self.holders[thief].jar = Some(copy);
        self.holders[thief].newest = 0;
        self.stolen = Some((self.stolen.map_or(self.at, |(at, _)| at), renewals));
        for actor in 0..self.actors.len() {
            let Actor { holder, habit, .. } = self.actors[actor];
            if is_first && holder == thief && !matches!(habit.rhythm, Rhythm::WithOwner) {
                let later = self.rng.below(MINUTE);
                self.queue(later, Event::Act { actor });
            }
        }
        if again_after > 0 {
            self.queue(again_after, Event::Steal { thief, again_after });
        }
    }

    /// A refusal arrived.
    pub(super) fn refused(&mut self, holder: usize, token: &Token, refusal: Refusal) {
        let Holder { jar, is_excused, .. } = &self.holders[holder];
        if holder != OWNER || self.caught.is_some() || jar.as_deref() != Some(token) {
            return;
        }
        let latest = START.plus(Duration::from_millis(self.at)).plus(CLOCK_SKEW).plus(Duration::from_secs(1));
        let is_over = latest >= token.absolute_deadline;
        if refusal == Refusal::Expired && !is_over {
            self.tally.expired += 1;
            if self.setup.is_steady && self.setup.is_strict && !is_excused {
                self.fail("a session in use expired");
            }
        } else if refusal != Refusal::Expired && self.setup.is_strict && self.stolen.is_none() {
            self.fail("a lone browser was signed out");
        }
        self.sign_in();
    }

    pub(super) fn fail(&self, what: &str) -> ! {
        let habits: Vec<_> = self.actors.iter().map(|actor| (actor.holder, actor.habit)).collect();
        panic!("{}{what}: seed {}, {:#?}, {habits:#?}", self.history, self.seed, self.setup);
    }
}
