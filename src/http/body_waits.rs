//! Limits the HTTP/2 requests of trusted proxies that wait for their bodies.
//!
//! A proxy that forwards requests before their bodies are complete sends the requests of all its clients over the same few
//! connections. Suppose that an attacker sends many request heads without bodies. If their memory reached the limit for HTTP/2,
//! the connections that have waited longest would be closed, together with the requests of other clients. So the number of
//! requests that wait for a body is limited. When a new request exceeds the limit, one request is evicted: the oldest request
//! of the network with the most waiting requests. Networks that may belong to one client, such as the /64s of an IPv6 /48, are
//! first counted together.
//!
//! Called by `Submission::read` (`body.rs`), which answers an evicted request with 408. The limits for memory are in
//! `connections/exchange.rs`.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;

use crate::log_sampler::sampled;
use crate::metrics::EVICTED_BODY_WAITS;
use crate::network::{Client, Network};

/// The set of requests that wait for their bodies.
#[derive(Debug, Default)]
pub(crate) struct BodyWaits {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Number of requests that have begun to wait so far.
    begun: u64,
    /// Waiting requests by their number in this count, so the first entry is the oldest request.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    network: Network,
    /// Dropped when the request is evicted, which completes [`BodyWait::evicted`].
    _evict: oneshot::Sender<()>,
}

/// A request that waits for its body. Dropped when the body is complete, or when the request has ended.
#[derive(Debug)]
struct BodyWait<'a> {
    waits: &'a BodyWaits,
    number: u64,
    /// Completes when the request is evicted.
    evicted: oneshot::Receiver<()>,
}

impl BodyWaits {
    /// Maximum number of requests that wait at the same time. Even with heads of 32 KiB, and together with the requests that wait
    /// for a key (`key_waits.rs`), they need less memory than a listener allows for HTTP/2.
    const MAX_WAITING: usize = 128;

    /// Waits for the body of a request of `client`. Returns `None` if the request is evicted before the body is complete.
    pub(crate) async fn run<T>(&self, client: Client, body: impl Future<Output = T>) -> Option<T> {
        let mut body = pin!(body);
        // A body that has arrived already does not wait, and so evicts no other request.
        if let Poll::Ready(body) = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await {
            return Some(body);
        }
        let mut wait = self.begin(client.network());
        tokio::select! {
            biased;
            body = body => Some(body),
            _ = &mut wait.evicted => {
                EVICTED_BODY_WAITS.add(0);
                sampled!(WARN, %client, "refused a request of a trusted proxy with 408: too many requests wait for their bodies");
                None
            }
        }
    }

    /// Adds a waiting request, and evicts another one if there are too many.
    fn begin(&self, network: Network) -> BodyWait<'_> {
        let (evict, evicted) = oneshot::channel();
        let mut queue = self.lock();
        queue.begun += 1;
        let number = queue.begun;
        queue.waiting.insert(number, Waiting { network, _evict: evict });
        if queue.waiting.len() > Self::MAX_WAITING {
            queue.evict_one();
        }
        drop(queue);
        BodyWait { waits: self, number, evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Evicts one request. Chooses the neighborhood (IPv4 /24 or IPv6 /48) with the most requests, then the network in it with
    /// the most requests, and then its oldest request. Among several of the same size, chooses the neighborhood or
    /// network with the oldest request.
    fn evict_one(&mut self) {
        let all: Vec<_> = self.waiting.iter().map(|(number, wait)| (*number, wait.network)).collect();
        let neighborhood_requests = requests_of_largest_group(&all, Network::neighborhood);
        if let Some((oldest, _)) = requests_of_largest_group(&neighborhood_requests, |network| network).first() {
            self.waiting.remove(oldest);
        }
    }
}

/// Returns the requests of the group of networks with the most requests. Among several such groups, chooses the group that comes
/// first in `waiting`.
fn requests_of_largest_group(waiting: &[(u64, Network)], group: impl Fn(Network) -> Network) -> Vec<(u64, Network)> {
    let mut counts = HashMap::<_, usize>::new();
    for (_, network) in waiting {
        *counts.entry(group(*network)).or_default() += 1;
    }
    let largest_count = counts.values().copied().max();
    let mut groups = waiting.iter().map(|(_, network)| group(*network));
    let largest = groups.find(|group| counts.get(group).copied() == largest_count);
    waiting.iter().filter(|(_, network)| Some(group(*network)) == largest).copied().collect()
}

impl Drop for BodyWait<'_> {
    fn drop(&mut self) {
        self.waits.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    impl BodyWait<'_> {
        fn is_evicted(&mut self) -> bool {
            self.evicted.try_recv() == Err(TryRecvError::Closed)
        }
    }

    fn network(number: u8) -> Network {
        Network::V4(Ipv4Addr::new(192, 0, 2, number))
    }

    #[test]
    fn evicts_the_oldest_request_of_the_largest_network() {
        let waits = BodyWaits::default();
        let mut first = waits.begin(network(1));
        let mut others: Vec<_> = (0..BodyWaits::MAX_WAITING).map(|_| waits.begin(network(2))).collect();
        assert!(!first.is_evicted(), "it is the oldest request, but its network has no other request");
        assert!(others[0].is_evicted() && !others[1].is_evicted());
        let mut last = waits.begin(network(1));
        assert!(others[1].is_evicted() && !others[2].is_evicted() && !last.is_evicted() && !first.is_evicted());
        drop(others);
        drop((first, last));
        assert!(waits.lock().waiting.is_empty(), "requests that do not wait any more are removed");
    }

    #[test]
    fn counts_the_networks_of_one_neighborhood_together() {
        let waits = BodyWaits::default();
        let office = Network::V4(Ipv4Addr::new(198, 51, 100, 7));
        let [mut one, mut other] = [(); 2].map(|()| waits.begin(office));
        let network_in_house = |number: u16| Network::V6([0x2001, 0xdb8, 7, number]);
        let mut house: Vec<_> = (0..200).map(|number| waits.begin(network_in_house(number))).collect();
        assert!(!one.is_evicted() && !other.is_evicted());
        assert!(house[73].is_evicted() && !house[74].is_evicted());
        let _again = waits.begin(network_in_house(199));
        assert!(
            house[199].is_evicted() && !house[74].is_evicted(),
            "the network with two requests is the largest of the neighborhood"
        );
    }

    #[test]
    fn evicts_the_oldest_request_if_all_networks_have_one() {
        let waits = BodyWaits::default();
        let mut all: Vec<_> = (0..BodyWaits::MAX_WAITING)
            .map(|number| waits.begin(network(u8::try_from(number).expect("at most 128"))))
            .collect();
        let mut one_more = waits.begin(network(200));
        assert!(all[0].is_evicted() && !all[1].is_evicted() && !one_more.is_evicted());
    }

    #[test]
    fn a_request_that_has_ended_does_not_count() {
        let waits = BodyWaits::default();
        let mut all: Vec<_> = (0..BodyWaits::MAX_WAITING).map(|_| waits.begin(network(1))).collect();
        drop(all.pop());
        all.push(waits.begin(network(1)));
        assert!(!all.iter_mut().any(BodyWait::is_evicted));
    }
}
