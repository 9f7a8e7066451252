//! The way of a request: from the browser to the check, through the application, and back.

use std::rc::Rc;

use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Presented, Refusal, SealedSession};

use super::SECOND;
use super::history::Happened;
use super::holder::{Actor, Rhythm};
use super::node::START;
use super::request::{Ask, Detour, GET, RENEW, Request, Route, Token};
use super::world::{Event, OWNER, World};
use crate::fixture::SITE;

/// The outcome of a check that accepted a token.
struct Accepted {
    renewals: u64,
    is_due: bool,
    is_half_spent: bool,
    renewed: Option<SealedSession>,
}

impl World {
    /// The next requests of a habit.
    pub(super) fn act(&mut self, actor: usize) {
        let Actor { holder, habit, .. } = self.actors[actor];
        let asleep_until = self.holders[holder].asleep_until;
        if self.at < asleep_until {
            let later = asleep_until - self.at + self.rng.below(5 * SECOND);
            return self.queue(later, Event::Act { actor });
        }
        for _ in 0..self.rng.even(habit.parallel) {
            self.send(actor, habit.ask, Detour::None);
        }
        if let Rhythm::Every(first, last) = habit.rhythm {
            let later = self.rng.even((first, last));
            self.queue(later, Event::Act { actor });
        }
        for thief in 0..self.actors.len() {
            let Actor { holder: other, habit, .. } = &self.actors[thief];
            if holder == OWNER && matches!(habit.rhythm, Rhythm::WithOwner) && self.holders[*other].jar.is_some() {
                let later = self.rng.below(200);
                self.queue(later, Event::Act { actor: thief });
            }
        }
    }

    pub(super) fn send(&mut self, actor: usize, ask: Ask, detour: Detour) {
        let holder = &self.holders[self.actors[actor].holder];
        let Some(cookie) = holder.jar.clone() else { return };
        let suspends = holder.suspends;
        self.actors[actor].waiting += 1;
        self.tally.requests += 1;
        let longest = ask.longest.unwrap_or(self.setup.longest);
        let mut up = self.rng.skewed(self.setup.network) + self.rng.even(ask.held);
        let mut down = self.rng.skewed(self.setup.network);
        let mut work = self.rng.skewed(ask.work);
        if self.rng.permille(self.setup.slow) {
            let part = [&mut up, &mut work, &mut down];
            let late = self.rng.skewed((SECOND, self.setup.longest));
            *part[self.rng.below(3) as usize] += late;
        }
        // A proxy or an application gives up in time.
        up = up.min(longest);
        work = work.min(longest - up);
        down = down.min(longest - up - work);
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let is_lost = self.rng.permille(self.setup.lost);
        let request = Request {
            actor,
            ask,
            cookie,
            node,
            restarts: 0,
            suspends,
            work,
            down,
            is_lost,
            set: None,
            refusal: None,
            detour,
        };
        let number = self.over.pop().unwrap_or(self.requests.len());
        if number == self.requests.len() {
            self.requests.push(request);
        } else {
            self.requests[number] = request;
        }
        self.queue(up, Event::Check { request: number });
    }

    /// The node looks at the cookie.
    pub(super) fn check(&mut self, number: usize) {
        let Request { actor, ask, ref cookie, node, detour, .. } = self.requests[number];
        let cookie = Rc::clone(cookie);
        let holder = self.actors[actor].holder;
        let mut told = Vec::new();
        let outcome = self.look(node, ask, &cookie, |presented| told.push(presented));
        self.requests[number].restarts = self.nodes[node].restarts;
        for presented in told {
            self.found(node, &presented);
        }
        match outcome {
            Ok(Accepted { renewals, is_due, is_half_spent, renewed }) => {
                if is_due {
                    let child = renewed.map(|sealed| self.token(&sealed));
                    self.due(holder, node, renewals, &cookie, child.as_deref(), ask);
                    self.requests[number].set = child;
                }
                let redirects = self.setup.front.redirects() && ask.route == Route::Page && ask.is_safe;
                if redirects && is_half_spent && detour == Detour::None {
                    self.requests[number].detour = Detour::There;
                    self.requests[number].work = 0;
                }
            }
            Err(refusal) => {
                self.history.add(self.at, Happened::Refused { holder, node, token: cookie.number, refusal });
                self.requests[number].refusal = Some(refusal);
                self.requests[number].work = 0;
            }
        }
        let Request { work, down, .. } = self.requests[number];
        if ask.writes && self.requests[number].refusal.is_none() {
            self.queue(work, Event::Answer { request: number });
        } else {
            self.queue(work + down, Event::Arrive { request: number });
        }
    }

    /// As the server does, or the hoop of an embedding application.
    fn look(&self, node: usize, ask: Ask, cookie: &Token, tell: impl FnMut(Presented)) -> Result<Accepted, Refusal> {
        let node = &self.nodes[node];
        let now = node.now(self.at);
        let window = self.setup.front.window(ask);
        let renews = ask.route == Route::Renew || !self.setup.front.redirects();
        node.sessions.verify_and_detect([cookie.field.as_slice()], SITE, now, window, tell, |verified| {
            let claims = verified.claims();
            let deadlines = verified.deadlines();
            let renewed = if renews { node.sessions.renew(verified, window).expect("a key seals") } else { None };
            Accepted {
                renewals: claims.renewals,
                is_due: deadlines.is_due(claims.sealed_at, now.wall),
                is_half_spent: deadlines.is_half_spent(claims.sealed_at, now.wall),
                renewed,
            }
        })
    }

    /// A due token was accepted, and perhaps renewed.
    fn due(&mut self, holder: usize, node: usize, renewals: u64, cookie: &Token, child: Option<&Token>, ask: Ask) {
        let (token, child) = (cookie.number, child.map(|child| child.number));
        self.history.add(self.at, Happened::Due { holder, node, renewals, token, child, is_safe: ask.is_safe });
        if child.is_none() {
            return;
        }
        self.tally.renewals += 1;
        let held = &mut self.holders[holder].newest;
        *held = renewals.max(*held);
        // On one node that forgets nothing, a third renewal of both holders is one too many.
        if let Some((_, at_theft)) = self.stolen
            && self.nodes.len() == 1
            && self.setup.restarts == 0
            && self.holders[..2].iter().all(|holder| holder.newest >= at_theft + 2)
        {
            self.fail("a thief renewed beside the owner and was not found");
        }
    }

    /// The handler is done, and has replaced the application's data: as `Jar::replace_data` does it.
    pub(super) fn answer(&mut self, number: usize) {
        let Request { actor, ask, ref cookie, node: at, restarts, down, ref set, .. } = self.requests[number];
        let (cookie, set) = (Rc::clone(cookie), set.clone());
        let node = &self.nodes[at];
        if node.restarts != restarts {
            self.requests[number].is_lost = true;
            return self.queue(down, Event::Arrive { request: number });
        }
        let mut told = Vec::new();
        let tell = |presented| told.push(presented);
        let fields = set.iter().chain([&cookie]).map(|token| token.field.as_slice());
        let now = node.now(self.at);
        let replaced = node.sessions.verify_and_detect(fields, SITE, now, RenewalWindow::WhenDue, tell, |verified| {
            let claims = verified.claims();
            let sealed = node.sessions.replace_app_data(verified, b"other").expect("a key seals")?;
            let is_renewed = sealed.sealed_at != claims.sealed_at;
            Some((claims.renewals, is_renewed, sealed))
        });
        for presented in told {
            self.found(at, &presented);
        }
        // If the session has ended meanwhile, the application answers with an error, and without a new cookie.
        if let Ok(Some((renewals, is_renewed, sealed))) = replaced {
            let token = cookie.number;
            let new = self.token(&sealed);
            let holder = self.actors[actor].holder;
            if is_renewed {
                self.due(holder, at, renewals, &cookie, Some(&new), ask);
            }
            self.history.add(self.at, Happened::Written { holder, node: at, token, new: new.number });
            self.requests[number].set = Some(new);
            self.tally.writes += 1;
        }
        self.queue(down, Event::Arrive { request: number });
    }

    /// The answer is there.
    pub(super) fn arrive(&mut self, number: usize) {
        let Request { actor, ask, suspends, is_lost, refusal, detour, .. } = self.requests[number];
        let cookie = Rc::clone(&self.requests[number].cookie);
        let set = self.requests[number].set.take();
        self.over.push(number);
        let holder = self.actors[actor].holder;
        if self.holders[holder].suspends != suspends {
            return;
        }
        let is_dropped = self.setup.front.drops() && ask.route != Route::Renew;
        if is_lost {
            self.history.add(self.at, Happened::Lost { holder, token: cookie.number });
            self.holders[holder].is_excused = true;
            self.tally.lost += 1;
        } else if let Some(new) = set.filter(|_| !is_dropped) {
            let old = self.holders[holder].jar.replace(Rc::clone(&new)).map(|old| old.number);
            self.holders[holder].is_excused = false;
            self.history.add(self.at, Happened::Arrived { holder, new: new.number, old });
        }
        if let Some(refusal) = refusal.filter(|_| !is_lost) {
            self.refused(holder, &cookie, refusal);
        }
        self.actors[actor].waiting = self.actors[actor].waiting.saturating_sub(1);
        match (detour, ask.route) {
            (Detour::There, Route::Page) if !is_lost => self.send(actor, RENEW, Detour::There),
            (Detour::There, Route::Renew) if !is_lost => {
                self.send(actor, self.actors[actor].habit.ask, Detour::Back);
            }
            _ if self.actors[actor].waiting == 0 => self.rest(actor),
            _ => {}
        }
    }

    /// All requests of a habit are answered.
    fn rest(&mut self, actor: usize) {
        let Actor { holder, habit, .. } = self.actors[actor];
        match habit.rhythm {
            Rhythm::After(first, last) => {
                let later = self.rng.even((first, last));
                self.queue(later, Event::Act { actor });
            }
            Rhythm::WhenDue => {
                let Some(token) = &self.holders[holder].jar else { return };
                let window = self.setup.front.window(habit.ask);
                let idle = self.setup.lifetime.idle;
                let wait = match window {
                    RenewalWindow::WhenDue => self.setup.lifetime.renewal_interval(),
                    RenewalWindow::LastThird => idle * 2 / 3,
                };
                let due = token.sealed_at.plus(wait).since(START).as_millis() as u64;
                let later = due.saturating_sub(self.at).max(SECOND) + self.rng.below(2 * SECOND);
                self.queue(later, Event::Act { actor });
            }
            Rhythm::Every(..) | Rhythm::WithOwner => {}
        }
    }

    /// A node says that there is a copy of a session. The others learn it from the store within a second.
    fn found(&mut self, node: usize, presented: &Presented) {
        let sid = presented.sid;
        if self.nodes[node].found.contains(&sid) {
            self.fail("a copy was told twice");
        }
        self.nodes[node].found.push(sid);
        self.tally.copies += 1;
        let later = self.rng.below(SECOND);
        self.ended.push((self.at + later, sid, presented.absolute_deadline));
        for node in 0..self.nodes.len() {
            self.queue(later, Event::Learn { node, ended: self.ended.len() - 1 });
        }
        if self.stolen.is_some() {
            for holder in 0..self.holders.len() {
                self.is_out(node, holder);
            }
            self.caught = Some(self.at);
        } else if self.setup.is_strict {
            self.fail("a lone browser was taken for two");
        }
    }

    /// Every holder is refused at a node.
    fn is_out(&self, node: usize, holder: usize) {
        let Some(jar) = &self.holders[holder].jar else { return };
        let tell = |_| self.fail("a copy was told twice");
        let said = self.look(node, GET, jar, tell);
        if !matches!(said, Err(Refusal::Revoked | Refusal::Expired)) {
            self.fail("a copy was found, and a holder is not refused");
        }
    }

    /// The number of renewals of a token.
    pub(super) fn renewals(&self, token: &Token) -> u64 {
        let node = &self.nodes[0];
        let now = node.now(self.at);
        let read = node.sessions.verify([token.field.as_slice()], SITE, now, |verified| verified.claims().renewals);
        read.unwrap_or(0)
    }
}
