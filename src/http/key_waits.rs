//! Requests that wait because of the key that their token names, which this server does not open with.
//!
//! Anybody can make up a key, and each such request keeps its head and body in memory while it waits. The connections of a trusted
//! proxy are shared by all its visitors: if a few of them filled what these may hold, those that waited longest would be closed, with
//! other visitors' requests on them. So only a few requests of one network may wait, and only so many of all.

use dashmap::DashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::problem::Problem;
use crate::log_sampler::sampled;
use crate::metrics::KEY_WAITS_REFUSED;
use crate::network::{Client, Network};
use crate::web::changes;

/// Requests that wait for one kind of thing.
#[derive(Debug)]
pub(crate) struct KeyWaits {
    free: Semaphore,
    /// How many of each network wait. There is an entry only for a network with one that does.
    by_network: DashMap<Network, usize>,
}

/// A request among those that wait.
struct Place<'a> {
    waits: &'a KeyWaits,
    network: Network,
    _permit: SemaphorePermit<'a>,
}

impl KeyWaits {
    /// How many requests may wait at once. With heads of 32 KiB, those of both kinds are two thirds of what a listener holds for
    /// HTTP/2.
    const MOST: usize = 200;
    /// How many of one network.
    const MOST_OF_A_NETWORK: usize = 64;

    pub(crate) fn new() -> Self {
        Self { free: Semaphore::new(Self::MOST), by_network: DashMap::new() }
    }

    /// Waits, for what a request of this client needs because of its key.
    ///
    /// # Errors
    /// [`Problem::KeyWaits`] at once, if as many requests wait as may.
    pub(crate) async fn run<T>(&self, client: Client, wait: impl Future<Output = T>) -> Result<T, Problem> {
        let Some(_place) = self.place(client.network()) else {
            KEY_WAITS_REFUSED.add(0);
            sampled!(WARN, %client, "too many requests wait because of their keys; one more does not");
            return Err(Problem::KeyWaits);
        };
        Ok(changes::wait_for_anybody(wait).await)
    }

    fn place(&self, network: Network) -> Option<Place<'_>> {
        let permit = self.free.try_acquire().ok()?;
        let mut count = self.by_network.entry(network).or_default();
        (*count < Self::MOST_OF_A_NETWORK).then(|| {
            *count += 1;
            Place { waits: self, network, _permit: permit }
        })
    }
}

impl Drop for Place<'_> {
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
    fn a_network_has_so_many_places_and_all_have_so_many() {
        let waits = KeyWaits::new();
        let mut places: Vec<_> =
            (0..KeyWaits::MOST_OF_A_NETWORK).map(|_| waits.place(network(1)).expect("a place")).collect();
        assert!(waits.place(network(1)).is_none(), "all of this network's are taken");
        places.pop();
        places.push(waits.place(network(1)).expect("the place that was given up"));
        assert!(waits.place(network(1)).is_none(), "they are taken again");
        places.extend((2..).map_while(|number| waits.place(network(number))));
        assert_eq!(places.len(), KeyWaits::MOST);
        places.truncate(1);
        assert!(waits.place(network(1)).is_some() && waits.place(network(2)).is_some());
        drop(places);
        assert!(waits.by_network.is_empty(), "nothing is kept of networks that do not wait");
        assert_eq!(waits.free.available_permits(), KeyWaits::MOST);
    }
}
