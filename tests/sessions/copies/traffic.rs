//! Events of a request: the browser sends it, the node checks it, the application handles it, and the response arrives.

use std::rc::Rc;

use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{PresentedSession, Refusal, SealedSession};

use super::SECOND;
use super::history::HistoryEvent;
use super::holder::{Actor, Rhythm};
use super::node::START;
use super::request::{GET, RENEW, RenewalRedirect, Request, RequestTemplate, Route, Token};
use super::world::{Event, OWNER, World};
use crate::fixture::SITE;

/// Result of a check that accepted a token.
struct Accepted {
    renewals: u64,
    is_due: bool,
    is_past_half_of_idle_timeout: bool,
    renewed: Option<SealedSession>,
}

impl World {
    /// Sends the next requests of a habit.
    pub(super) fn send_next(&mut self, actor: usize) {
        let Actor { holder, habit, .. } = self.actors[actor];
        let asleep_until = self.holders[holder].asleep_until;
        if self.at < asleep_until {
            let delay = asleep_until - self.at + self.rng.below(5 * SECOND);
            return self.queue(delay, Event::SendNext { actor });
        }
        for _ in 0..self.rng.uniform(habit.parallel) {
            self.send(actor, habit.template, RenewalRedirect::None);
        }
        if let Rhythm::Every(first, last) = habit.rhythm {
            let delay = self.rng.uniform((first, last));
            self.queue(delay, Event::SendNext { actor });
        }
        for thief in 0..self.actors.len() {
            let Actor { holder: other, habit, .. } = &self.actors[thief];
            if holder == OWNER && matches!(habit.rhythm, Rhythm::WithOwner) && self.holders[*other].jar.is_some() {
                let delay = self.rng.below(200);
                self.queue(delay, Event::SendNext { actor: thief });
            }
        }
    }

    /// Sends a request, and chooses the durations of its parts.
    pub(super) fn send(&mut self, actor: usize, template: RequestTemplate, redirect: RenewalRedirect) {
        let holder = &self.holders[self.actors[actor].holder];
        let Some(cookie) = holder.jar.clone() else { return };
        let suspends = holder.suspends;
        self.actors[actor].waiting += 1;
        self.tally.requests += 1;
        let max_duration = template.max_duration.unwrap_or(self.setup.max_duration);
        let mut up = self.rng.log_uniform(self.setup.network) + self.rng.uniform(template.buffered);
        let mut down = self.rng.log_uniform(self.setup.network);
        let mut work = self.rng.log_uniform(template.work);
        if self.rng.permille(self.setup.slow) {
            let parts = [&mut up, &mut work, &mut down];
            let extra = self.rng.log_uniform((SECOND, self.setup.max_duration));
            *parts[self.rng.below(3) as usize] += extra;
        }
        // A proxy or an application aborts a request that takes longer.
        up = up.min(max_duration);
        work = work.min(max_duration - up);
        down = down.min(max_duration - up - work);
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let is_lost = self.rng.permille(self.setup.lost);
        let request = Request {
            actor,
            template,
            cookie,
            node,
            restarts: 0,
            suspends,
            work,
            down,
            is_lost,
            new_cookie: None,
            refusal: None,
            redirect,
        };
        let number = self.free_numbers.pop().unwrap_or(self.requests.len());
        if number == self.requests.len() {
            self.requests.push(request);
        } else {
            self.requests[number] = request;
        }
        self.queue(up, Event::Check { request: number });
    }

    /// Checks the cookie of a request on its node.
    pub(super) fn check(&mut self, number: usize) {
        let Request { actor, template, ref cookie, node, redirect, .. } = self.requests[number];
        let cookie = Rc::clone(cookie);
        let holder = self.actors[actor].holder;
        let mut copies = Vec::new();
        let outcome = self.verify(node, template, &cookie, |presented| copies.push(presented));
        self.requests[number].restarts = self.nodes[node].restarts;
        for presented in copies {
            self.copy_found(node, &presented);
        }
        match outcome {
            Ok(Accepted { renewals, is_due, is_past_half_of_idle_timeout, renewed }) => {
                if is_due {
                    let child = renewed.map(|sealed| self.token(&sealed));
                    self.record_due(holder, node, renewals, &cookie, child.as_deref(), template);
                    self.requests[number].new_cookie = child;
                }
                let redirects = self.setup.front.redirects() && template.route == Route::Page && template.is_safe;
                if redirects && is_past_half_of_idle_timeout && redirect == RenewalRedirect::None {
                    self.requests[number].redirect = RenewalRedirect::ToRenew;
                    self.requests[number].work = 0;
                }
            }
            Err(refusal) => {
                self.history.add(self.at, HistoryEvent::Refused { holder, node, token: cookie.number, refusal });
                self.requests[number].refusal = Some(refusal);
                self.requests[number].work = 0;
            }
        }
        let Request { work, down, .. } = self.requests[number];
        if template.writes && self.requests[number].refusal.is_none() {
            self.queue(work, Event::WriteData { request: number });
        } else {
            self.queue(work + down, Event::Arrive { request: number });
        }
    }

    /// Verifies and renews a token, as the server or the middleware of an embedding application does.
    fn verify(
        &self,
        node: usize,
        template: RequestTemplate,
        cookie: &Token,
        report: impl FnMut(PresentedSession),
    ) -> Result<Accepted, Refusal> {
        let node = &self.nodes[node];
        let now = node.now(self.at);
        let window = self.setup.front.window(template);
        let may_renew = template.route == Route::Renew || !self.setup.front.redirects();
        node.sessions.verify_and_detect([cookie.field.as_slice()], SITE, now, window, report, |verified| {
            let claims = verified.claims();
            let deadlines = verified.deadlines();
            let renewed = if may_renew { node.sessions.renew(verified, window).expect("a key seals") } else { None };
            Accepted {
                renewals: claims.renewals,
                is_due: deadlines.is_due(claims.sealed_at, now.wall),
                is_past_half_of_idle_timeout: deadlines.is_past_half_of_idle_timeout(claims.sealed_at, now.wall),
                renewed,
            }
        })
    }

    /// Records that a due token was accepted, and possibly renewed. Asserts that a copy is found before both holders have
    /// renewed three times.
    fn record_due(
        &mut self,
        holder: usize,
        node: usize,
        renewals: u64,
        cookie: &Token,
        child: Option<&Token>,
        template: RequestTemplate,
    ) {
        let token = cookie.number;
        let child = child.map(|child| child.number);
        self.history
            .add(self.at, HistoryEvent::Due { holder, node, renewals, token, child, is_safe: template.is_safe });
        if child.is_none() {
            return;
        }
        self.tally.renewals += 1;
        let newest = &mut self.holders[holder].newest;
        *newest = renewals.max(*newest);
        // On one node without restarts, the copy must be found before both holders have renewed three times.
        if let Some((_, at_theft)) = self.stolen
            && self.nodes.len() == 1
            && self.setup.restarts == 0
            && self.holders[..2].iter().all(|holder| holder.newest >= at_theft + 2)
        {
            self.fail("owner and thief have renewed in parallel, and the copy was not found");
        }
    }

    /// Replaces the application data at the end of a handler, as `Jar::replace_data` does.
    pub(super) fn write_data(&mut self, number: usize) {
        let Request { actor, template, ref cookie, node: node_index, restarts, down, ref new_cookie, .. } =
            self.requests[number];
        let cookie = Rc::clone(cookie);
        let new_cookie = new_cookie.clone();
        let node = &self.nodes[node_index];
        if node.restarts != restarts {
            self.requests[number].is_lost = true;
            return self.queue(down, Event::Arrive { request: number });
        }
        let mut copies = Vec::new();
        let report = |presented| copies.push(presented);
        let fields = new_cookie.iter().chain([&cookie]).map(|token| token.field.as_slice());
        let now = node.now(self.at);
        let replaced = node.sessions.verify_and_detect(fields, SITE, now, RenewalWindow::WhenDue, report, |verified| {
            let claims = verified.claims();
            let sealed = node.sessions.replace_app_data(verified, b"other").expect("a key seals")?;
            let is_renewed = sealed.sealed_at != claims.sealed_at;
            Some((claims.renewals, is_renewed, sealed))
        });
        for presented in copies {
            self.copy_found(node_index, &presented);
        }
        // If the session was revoked or has expired meanwhile, the response is an error without a new cookie.
        if let Ok(Some((renewals, is_renewed, sealed))) = replaced {
            let token = cookie.number;
            let new = self.token(&sealed);
            let holder = self.actors[actor].holder;
            if is_renewed {
                self.record_due(holder, node_index, renewals, &cookie, Some(&new), template);
            }
            self.history.add(self.at, HistoryEvent::Written { holder, node: node_index, token, new: new.number });
            self.requests[number].new_cookie = Some(new);
            self.tally.writes += 1;
        }
        self.queue(down, Event::Arrive { request: number });
    }

    /// Handles the arrival of a response.
    pub(super) fn arrive(&mut self, number: usize) {
        let Request { actor, template, suspends, is_lost, refusal, redirect, .. } = self.requests[number];
        let cookie = Rc::clone(&self.requests[number].cookie);
        let new_cookie = self.requests[number].new_cookie.take();
        self.free_numbers.push(number);
        let holder = self.actors[actor].holder;
        if self.holders[holder].suspends != suspends {
            return;
        }
        let is_dropped = self.setup.front.drops() && template.route != Route::Renew;
        if is_lost {
            self.history.add(self.at, HistoryEvent::Lost { holder, token: cookie.number });
            self.holders[holder].is_excused = true;
            self.tally.lost += 1;
        } else if let Some(new) = new_cookie.filter(|_| !is_dropped) {
            let old = self.holders[holder].jar.replace(Rc::clone(&new)).map(|old| old.number);
            self.holders[holder].is_excused = false;
            self.history.add(self.at, HistoryEvent::Arrived { holder, new: new.number, old });
        }
        if let Some(refusal) = refusal.filter(|_| !is_lost) {
            self.handle_refusal(holder, &cookie, refusal);
        }
        self.actors[actor].waiting = self.actors[actor].waiting.saturating_sub(1);
        match (redirect, template.route) {
            (RenewalRedirect::ToRenew, Route::Page) if !is_lost => self.send(actor, RENEW, RenewalRedirect::ToRenew),
            (RenewalRedirect::ToRenew, Route::Renew) if !is_lost => {
                self.send(actor, self.actors[actor].habit.template, RenewalRedirect::FromRenew);
            }
            _ if self.actors[actor].waiting == 0 => self.schedule_next(actor),
            _ => {}
        }
    }

    /// Schedules the next requests of a habit after all responses have arrived.
    fn schedule_next(&mut self, actor: usize) {
        let Actor { holder, habit, .. } = self.actors[actor];
        match habit.rhythm {
            Rhythm::After(first, last) => {
                let delay = self.rng.uniform((first, last));
                self.queue(delay, Event::SendNext { actor });
            }
            Rhythm::WhenDue => {
                let Some(token) = &self.holders[holder].jar else { return };
                let window = self.setup.front.window(habit.template);
                let idle = self.setup.lifetime.idle;
                let wait = match window {
                    RenewalWindow::WhenDue => self.setup.lifetime.renewal_interval(),
                    RenewalWindow::LastThird => idle * 2 / 3,
                };
                let due = token.sealed_at.plus(wait).since(START).as_millis() as u64;
                let delay = due.saturating_sub(self.at).max(SECOND) + self.rng.below(2 * SECOND);
                self.queue(delay, Event::SendNext { actor });
            }
            Rhythm::Every(..) | Rhythm::WithOwner => {}
        }
    }

    /// Handles a copy that a node has found. The other nodes read the revocation from the store within a second.
    fn copy_found(&mut self, node: usize, presented: &PresentedSession) {
        let sid = presented.sid;
        if self.nodes[node].copied_sessions.contains(&sid) {
            self.fail("a node reported a copy twice");
        }
        self.nodes[node].copied_sessions.push(sid);
        self.tally.copies += 1;
        let delay = self.rng.below(SECOND);
        self.ended.push((self.at + delay, sid, presented.absolute_deadline));
        for node in 0..self.nodes.len() {
            self.queue(delay, Event::ReadRevocation { node, ended: self.ended.len() - 1 });
        }
        if self.stolen.is_some() {
            for holder in 0..self.holders.len() {
                self.assert_refused(node, holder);
            }
            self.caught = Some(self.at);
        } else if self.setup.is_strict {
            self.fail("a copy was found, but there is only a single browser");
        }
    }

    /// Asserts that a node refuses a holder.
    fn assert_refused(&self, node: usize, holder: usize) {
        let Some(jar) = &self.holders[holder].jar else { return };
        let report = |_| self.fail("a node reported a copy twice");
        let verdict = self.verify(node, GET, jar, report);
        if !matches!(verdict, Err(Refusal::Revoked | Refusal::Expired)) {
            self.fail("a copy was found, but a holder is not refused");
        }
    }

    /// Returns the number of renewals in a token.
    pub(super) fn renewals(&self, token: &Token) -> u64 {
        let node = &self.nodes[0];
        let now = node.now(self.at);
        let renewals = node.sessions.verify([token.field.as_slice()], SITE, now, |verified| verified.claims().renewals);
        renewals.unwrap_or(0)
    }
}
