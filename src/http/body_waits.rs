//! Requests of trusted proxies over HTTP/2 whose bodies are waited for.
//!
//! A proxy that passes requests on before their bodies are whole has those of all its visitors on the same few connections. If the
//! heads of requests whose bodies do not come filled what these connections may hold, those that waited longest would be closed,
//! with other visitors' requests on them. So only so many bodies are waited for. One more is waited for in the place of another: the
//! one that has been waited for longest, of the network that has most. Networks that may be one visitor's, such as the /64s of an
//! IPv6 /48, are counted together first.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;

use crate::log_sampler::sampled;
use crate::metrics::BODY_WAITS_DISPLACED;
use crate::network::{Client, Network};

/// The requests that wait.
#[derive(Debug, Default)]
pub(crate) struct BodyWaits {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// How many have waited so far.
    begun: u64,
    /// By their numbers in that.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    network: Network,
    /// Dropped when the request gives way.
    _place: oneshot::Sender<()>,
}

/// A request whose body is waited for. Dropped when it is here, or no longer wanted.
#[derive(Debug)]
struct BodyWait<'a> {
    waits: &'a BodyWaits,
    number: u64,
    /// Ends when the request is to give way.
    gives_way: oneshot::Receiver<()>,
}

impl BodyWaits {
    /// How many bodies are waited for at once. With heads of 32 KiB, and with the requests that may wait because of their keys
    /// (`key_waits.rs`), these are less than what a listener holds for HTTP/2.
    const MOST: usize = 128;

    /// Waits for the body of a request of this client; `None` if the request gives way before it is here.
    pub(crate) async fn run<T>(&self, client: Client, body: impl Future<Output = T>) -> Option<T> {
        let mut body = pin!(body);
        // One that is here takes nobody's place.
        if let Poll::Ready(body) = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await {
            return Some(body);
        }
        let mut wait = self.begin(client.network());
        tokio::select! {
            biased;
            body = body => Some(body),
            _ = &mut wait.gives_way => {
                BODY_WAITS_DISPLACED.add(0);
                sampled!(WARN, %client, "too many requests of trusted proxies wait for their bodies; this one is refused");
                None
            }
        }
    }

    /// Lets a request wait; another may have to give way.
    fn begin(&self, network: Network) -> BodyWait<'_> {
        let (place, gives_way) = oneshot::channel();
        let mut queue = self.lock();
        queue.begun += 1;
        let number = queue.begun;
        queue.waiting.insert(number, Waiting { network, _place: place });
        if queue.waiting.len() > Self::MOST {
            queue.displace();
        }
        drop(queue);
        BodyWait { waits: self, number, gives_way }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes out the oldest of the network that has most, in the neighborhood that has most. Of several with as many it is the one
    /// with the oldest.
    fn displace(&mut self) {
        let all: Vec<_> = self.waiting.iter().map(|(number, wait)| (*number, wait.network)).collect();
        let of_neighborhood = of_the_busiest(&all, Network::neighborhood);
        if let Some((oldest, _)) = of_the_busiest(&of_neighborhood, |network| network).first() {
            self.waiting.remove(oldest);
        }
    }
}

/// Those of the group of networks with most; of several such groups, of the first.
fn of_the_busiest(waiting: &[(u64, Network)], group: impl Fn(Network) -> Network) -> Vec<(u64, Network)> {
    let mut counts = HashMap::<_, usize>::new();
    for (_, network) in waiting {
        *counts.entry(group(*network)).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let mut groups = waiting.iter().map(|(_, network)| group(*network));
    let busiest = groups.find(|group| counts.get(group).copied() == most);
    waiting.iter().filter(|(_, network)| Some(group(*network)) == busiest).copied().collect()
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
        fn gave_way(&mut self) -> bool {
            self.gives_way.try_recv() == Err(TryRecvError::Closed)
        }
    }

    fn network(number: u8) -> Network {
        Network::V4(Ipv4Addr::new(192, 0, 2, number))
    }

    #[test]
    fn the_oldest_of_the_network_with_most_gives_way() {
        let waits = BodyWaits::default();
        let mut first = waits.begin(network(1));
        let mut others: Vec<_> = (0..BodyWaits::MOST).map(|_| waits.begin(network(2))).collect();
        assert!(!first.gave_way(), "it is the oldest, and its network's only one");
        assert!(others[0].gave_way() && !others[1].gave_way());
        let mut last = waits.begin(network(1));
        assert!(others[1].gave_way() && !others[2].gave_way() && !last.gave_way() && !first.gave_way());
        drop(others);
        drop((first, last));
        assert!(waits.lock().waiting.is_empty(), "nothing is kept of those that wait no longer");
    }

    #[test]
    fn many_networks_of_one_visitor_count_as_one_first() {
        let waits = BodyWaits::default();
        let office = Network::V4(Ipv4Addr::new(198, 51, 100, 7));
        let [mut one, mut other] = [(); 2].map(|()| waits.begin(office));
        let of_house = |number: u16| Network::V6([0x2001, 0xdb8, 7, number]);
        let mut house: Vec<_> = (0..200).map(|number| waits.begin(of_house(number))).collect();
        assert!(!one.gave_way() && !other.gave_way());
        assert!(house[73].gave_way() && !house[74].gave_way());
        let _again = waits.begin(of_house(199));
        assert!(house[199].gave_way() && !house[74].gave_way(), "of its networks, the one with two");
    }

    #[test]
    fn among_equals_the_oldest_gives_way() {
        let waits = BodyWaits::default();
        let mut all: Vec<_> = (0..BodyWaits::MOST)
            .map(|number| waits.begin(network(u8::try_from(number).expect("at most 128"))))
            .collect();
        let mut one_more = waits.begin(network(200));
        assert!(all[0].gave_way() && !all[1].gave_way() && !one_more.gave_way());
    }

    #[test]
    fn who_has_left_makes_room() {
        let waits = BodyWaits::default();
        let mut all: Vec<_> = (0..BodyWaits::MOST).map(|_| waits.begin(network(1))).collect();
        drop(all.pop());
        all.push(waits.begin(network(1)));
        assert!(!all.iter_mut().any(BodyWait::gave_way));
    }
}
