//! Limits the requests that wait because their token names a key that this server does not have.
//!
//! Any client can invent a key id, and a waiting request keeps its head and body in memory. The clients of a trusted proxy
//! share its connections. If a few clients used all the memory that is allowed for HTTP/2, the connections that have waited
//! longest would be closed, together with the requests of other clients. So the number of waiting requests is limited, in total
//! and per network.
//!
//! A server has two such limits ([`App`](crate::http::app::App)): for requests that wait for the key ring, and for those that
//! wait for the reports of other nodes.

use dashmap::DashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::problem::Problem;
use crate::log_sampler::sampled;
use crate::metrics::KEY_WAITS_REFUSED;
use crate::network::{Client, Network};
use crate::web::changes;

/// The requests that wait for one type of event.
#[derive(Debug)]
pub(crate) struct KeyWaits {
    free_slots: Semaphore,
    /// Number of waiting requests per network. Networks without a waiting request have no entry.
    by_network: DashMap<Network, usize>,
}

/// Slot of a waiting request. The request counts against the limits until the slot is dropped.
struct WaitSlot<'a> {
    waits: &'a KeyWaits,
    network: Network,
    _permit: SemaphorePermit<'a>,
}

impl KeyWaits {
    /// Maximum number of requests that wait at the same time. With heads of 32 KiB, the waiting requests of both limits use two
    /// thirds of the memory that a listener allows for HTTP/2.
    const MAX_WAITING: usize = 200;
    /// Maximum number of waiting requests of one network.
    const MAX_WAITING_PER_NETWORK: usize = 64;

    pub(crate) fn new() -> Self {
        Self { free_slots: Semaphore::new(Self::MAX_WAITING), by_network: DashMap::new() }
    }

    /// Waits for `wait`, which a request of `client` needs because this server does not have the key of its token.
    ///
    /// # Errors
    /// [`Problem::KeyWaits`] without waiting, if too many requests wait already.
    pub(crate) async fn run<T>(&self, client: Client, wait: impl Future<Output = T>) -> Result<T, Problem> {
        let Some(_slot) = self.take_slot(client.network()) else {
            KEY_WAITS_REFUSED.add(0);
            sampled!(WARN, %client, "a request did not wait for its key: too many requests are waiting already");
            return Err(Problem::KeyWaits);
        };
        Ok(changes::untrusted_wait(wait).await)
    }

    /// Returns a slot, or `None` if a limit is reached.
    fn take_slot(&self, network: Network) -> Option<WaitSlot<'_>> {
        let permit = self.free_slots.try_acquire().ok()?;
        let mut count = self.by_network.entry(network).or_default();
        (*count < Self::MAX_WAITING_PER_NETWORK).then(|| {
            *count += 1;
            WaitSlot { waits: self, network, _permit: permit }
        })
    }
}

impl Drop for WaitSlot<'_> {
    fn drop(&mut self) {
        self.waits.by_network.remove_if_mut(&self.network, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn network(number: u8) -> Network {
        Network::V4(Ipv4Addr::new(192, 0, 2, number))
    }

    #[test]
    fn limits_the_slots_of_one_network_and_of_all() {
        let waits = KeyWaits::new();
        let mut slots: Vec<_> =
            (0..KeyWaits::MAX_WAITING_PER_NETWORK).map(|_| waits.take_slot(network(1)).expect("a free slot")).collect();
        assert!(waits.take_slot(network(1)).is_none(), "all slots of this network are taken");
        slots.pop();
        slots.push(waits.take_slot(network(1)).expect("the slot that was returned"));
        assert!(waits.take_slot(network(1)).is_none(), "all slots of this network are taken again");
        slots.extend((2..).map_while(|number| waits.take_slot(network(number))));
        assert_eq!(slots.len(), KeyWaits::MAX_WAITING);
        slots.truncate(1);
        assert!(waits.take_slot(network(1)).is_some() && waits.take_slot(network(2)).is_some());
        drop(slots);
        assert!(waits.by_network.is_empty(), "networks without a waiting request have no entry");
        assert_eq!(waits.free_slots.available_permits(), KeyWaits::MAX_WAITING);
    }
}
