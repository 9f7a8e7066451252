//! Address and network of a client. Rate limits count requests per network, and the log shows the network or the address.
//!
//! A network is the smallest range of addresses that belongs to one customer of a provider: a single IPv4 address, or an IPv6
//! /64.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Address of the client of a request, and the form in which it is logged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// IP address, or `None` if the peer is connected to a Unix socket and has no address.
    pub(crate) address: Option<IpAddr>,
    pub(crate) form: ClientForm,
}

/// Form in which a client is logged (setting `log.client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientForm {
    /// Shortened network, as [`Network`] prints it.
    Network,
    /// The address without changes.
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

/// Network of a client: an IPv4 address, or an IPv6 /64, because one client may use every address of its /64.
///
/// `Display` prints it shortened to a /24 or a /48. This is enough to notice an attack in the log, but does not
/// identify a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// The peer has no address. All such peers count as one network.
    Unknown,
}

impl Network {
    /// Returns the IPv4 /24 or IPv6 /48 that contains this network. One attacker may control all of its addresses.
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

    /// Returns the IPv6 /48 that contains this network, or `None` for IPv4 and for a peer without an address. Providers
    /// assign up to a /48, which has 65,536 networks, to one customer.
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

/// Returns whether the address is not a public address of the Internet: a loopback, private, link-local or shared address
/// ([RFC 6598](https://www.rfc-editor.org/rfc/rfc6598)).
#[cfg(feature = "server")]
pub(crate) fn is_private(address: IpAddr) -> bool {
    const FIRST_SHARED: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
    const LAST_SHARED: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 255);
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let is_shared = (FIRST_SHARED..=LAST_SHARED).contains(&address);
            address.is_private() || address.is_loopback() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_whole_address_only_in_the_full_form() {
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
    fn distinguishes_networks_and_prints_them_shortened() {
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
