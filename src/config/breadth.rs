//! Classifies the entries of `http.trusted_proxies` by the number of addresses that they trust, to warn of networks
//! that are too large.

use ipnet::IpNet;

use crate::http::forwarded::network;
use crate::network::is_private;

/// Size class of a network of trusted proxies: who can own its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Private network, or a public network that is small enough to belong to one operator.
    Own,
    /// Public network that is so large that it contains addresses of other operators.
    Strangers,
    /// Network that contains a large part of all addresses.
    Everybody,
}

/// Returns the size class of an address or a network, or `None` for any other text, such as `unix`.
pub(crate) fn of(text: &str) -> Option<Breadth> {
    let network = network(text)?;
    // Minimum prefix lengths of the first and the second class.
    let (min_narrow_prefix, min_wide_prefix) = match network {
        IpNet::V4(_) => (24, 8),
        IpNet::V6(_) => (48, 16),
    };
    let is_private_network = is_private(network.network()) && is_private(network.broadcast());
    Some(match network.prefix_len() {
        _ if is_private_network => Breadth::Own,
        prefix if prefix < min_wide_prefix => Breadth::Everybody,
        prefix if prefix < min_narrow_prefix => Breadth::Strangers,
        _ => Breadth::Own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_networks_by_the_owners_of_their_addresses() {
        for (text, expected) in [
            ("10.0.0.0/8", Breadth::Own),
            ("10.0.0.0/7", Breadth::Everybody),
            ("172.16.0.0/12", Breadth::Own),
            ("172.16.0.0/11", Breadth::Strangers),
            ("203.0.113.7", Breadth::Own),
            ("203.0.113.0/24", Breadth::Own),
            ("203.0.112.0/23", Breadth::Strangers),
            ("0.0.0.0/0", Breadth::Everybody),
            ("128.0.0.0/1", Breadth::Everybody),
            ("fc00::/7", Breadth::Own),
            ("2001:db8::/48", Breadth::Own),
            ("2001:db8::/32", Breadth::Strangers),
            ("::/0", Breadth::Everybody),
            ("::ffff:0:0/96", Breadth::Everybody),
            ("::ffff:10.0.0.0/104", Breadth::Own),
            ("2000::/3", Breadth::Everybody),
            ("2000::/15", Breadth::Everybody),
            ("2001::/16", Breadth::Strangers),
            ("8.0.0.0/7", Breadth::Everybody),
            ("8.0.0.0/8", Breadth::Strangers),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
        assert_eq!(of("unix"), None);
    }
}
