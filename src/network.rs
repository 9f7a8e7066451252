//! Where a request came from, as finely as one visitor can be told from another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The address that a request came from, and the form in which the log shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// `None` if the peer has no address.
    pub(crate) address: Option<IpAddr>,
    pub(crate) form: ClientForm,
}

/// Form of a client in the log (`log.client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientForm {
    /// Shortened, as [`Network`] prints.
    Network,
    /// The whole address.
    Full,
}

impl Client {
    pub(crate) fn network(self) -> Network {
        self.address.map_or(Network::Unknown, Network::from)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.form, self.address) {
            (ClientForm::Full, Some(address)) => address.to_canonical().fmt(f),
            (ClientForm::Network, Some(_)) | (_, None) => self.network().fmt(f),
        }
    }
}

/// A client's network: an IPv4 address, or an IPv6 /64, of which one visitor may use every address.
///
/// It prints shortened, to a /24 or a /48: enough to see an attack in the log, too little to name a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// The peer has no address: all such peers count as one.
    Unknown,
}

impl Network {
    /// The IPv4 /24 or IPv6 /48 around it, all of which may be one visitor's.
    pub(crate) const fn neighborhood(self) -> Self {
        match self {
            Self::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4(Ipv4Addr::new(a, b, c, 0))
            }
            Self::V6([a, b, c, _]) => Self::V6([a, b, c, 0]),
            Self::Unknown => Self::Unknown,
        }
    }

    /// The IPv6 /48 around it: a provider gives one customer as many as 65,536 networks. `None` for IPv4.
    pub(crate) const fn site(self) -> Option<Self> {
        match self {
            Self::V6(_) => Some(self.neighborhood()),
            Self::V4(_) | Self::Unknown => None,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.neighborhood() {
            Self::V4(address) => write!(f, "{address}/24"),
            Self::V6([a, b, c, d]) => write!(f, "{}/48", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Returns whether no stranger on the Internet has this address.
#[cfg(feature = "server")]
pub(crate) fn is_private(address: IpAddr) -> bool {
    const SHARED: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(100, 64, 0, 0), Ipv4Addr::new(100, 127, 255, 255));
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let shared = (SHARED.0..=SHARED.1).contains(&address);
            address.is_private() || address.is_loopback() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_client_whole_only_if_asked_to() {
        for (address, network, full) in [
            ("192.0.2.77", "192.0.2.0/24", "192.0.2.77"),
            ("::ffff:192.0.2.77", "192.0.2.0/24", "192.0.2.77"),
            ("2001:db8:1:2::77", "2001:db8:1::/48", "2001:db8:1:2::77"),
        ] {
            let address = address.parse().ok();
            assert_eq!(Client { address, form: ClientForm::Network }.to_string(), network);
            assert_eq!(Client { address, form: ClientForm::Full }.to_string(), full);
        }
        assert_eq!(Client { address: None, form: ClientForm::Full }.to_string(), "unknown");
    }

    #[test]
    fn tells_ipv4_and_ipv6_networks_apart_and_prints_none_in_full() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().expect("an address"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        for (address, printed) in [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::77", "2001:db8:1::/48")] {
            assert_eq!(network(address).to_string(), printed);
        }
    }
}
