//! Requests that wait because they name a key that is not held here, as a token does that is sealed with a new one.
//!
//! Anybody can make up a key, and each such request keeps its head and body in memory while it waits. The connections of a trusted
//! proxy are shared by all its visitors: if one of them filled what these may hold, those that waited longest would be closed, with
//! other visitors' requests on them. So only a few requests of one network may wait.

use dashmap::DashMap;

use super::problem::Problem;
use crate::network::Network;
use crate::web::changes;

/// How many requests of each network wait. There is an entry only for a network with one that does.
#[derive(Debug, Default)]
pub(crate) struct KeyWaits(DashMap<Network, usize>);

/// A request among those that wait.
struct Place<'a> {
    waits: &'a KeyWaits,
    network: Network,
}

impl KeyWaits {
    /// How many requests of one network may wait at once: with heads of 32 KiB, a tenth of what a listener holds for HTTP/2.
    const MOST: usize = 100;

    /// Waits, for what a request from this network needs because of the key that it names.
    ///
    /// # Errors
    /// [`Problem::UnknownKeys`] at once, if as many requests of the network wait as may.
    pub(crate) async fn run<T>(&self, network: Network, wait: impl Future<Output = T>) -> Result<T, Problem> {
        let _place = self.place(network)?;
        Ok(changes::wait_for_anybody(wait).await)
    }

    fn place(&self, network: Network) -> Result<Place<'_>, Problem> {
        let mut count = self.0.entry(network).or_default();
        if *count == Self::MOST {
            return Err(Problem::UnknownKeys);
        }
        *count += 1;
        Ok(Place { waits: self, network })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waits.0.remove_if_mut(&self.network, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_has_so_many_places_and_takes_none_of_another() {
        let waits = KeyWaits::default();
        let [one, other] =
            ["192.0.2.1", "192.0.2.2"].map(|text| Network::from(text.parse::<std::net::IpAddr>().expect("an address")));
        let mut places: Vec<_> = (0..KeyWaits::MOST).map(|_| waits.place(one).expect("a place")).collect();
        assert!(matches!(waits.place(one), Err(Problem::UnknownKeys)));
        assert!(waits.place(other).is_ok());
        places.pop();
        places.push(waits.place(one).expect("the place that was given up"));
        assert!(waits.place(one).is_err());
        drop(places);
        assert!(waits.0.is_empty(), "nothing is kept of networks that do not wait");
    }
}
