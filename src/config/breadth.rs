//! Classifies the entries of `http.trusted_proxies` by the number of addresses that they trust, to warn of networks
//! that are too large.

use ipnet::IpNet;

use crate::http::forwarded::network;
use crate::network::is_private;

/// Size class of a network of trusted proxies. The larger a public network is, the more operators own addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkBreadth {
    /// Private network, or a public network that is small enough to belong to one operator.
    Narrow,
    /// Public network that is so large that it contains addresses of other operators.
    Wide,
    /// Network that contains a large part of all addresses.
    Global,
}

/// Returns the size class of an address or a network, or `None` for any other text, such as `unix`.
pub(crate) fn of(text: &str) -> Option<NetworkBreadth> {
    let network = network(text)?;
    // Minimum prefix lengths of the classes `Narrow` and `Wide`.
    let (min_narrow_prefix, min_wide_prefix) = match network {
        IpNet::V4(_) => (24, 8),
        IpNet::V6(_) => (48, 16),
    };
    let is_private_network = is_private(network.network()) && is_private(network.broadcast());
    Some(match network.prefix_len() {
        _ if is_private_network => NetworkBreadth::Narrow,
        prefix if prefix < min_wide_prefix => NetworkBreadth::Global,
        prefix if prefix < min_narrow_prefix => NetworkBreadth::Wide,
        _ => NetworkBreadth::Narrow,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_networks_by_the_owners_of_their_addresses() {
        for (text, expected) in [
            ("10.0.0.0/8", NetworkBreadth::Narrow),
            ("10.0.0.0/7", NetworkBreadth::Global),
            ("172.16.0.0/12", NetworkBreadth::Narrow),
            ("172.16.0.0/11", NetworkBreadth::Wide),
            ("203.0.113.7", NetworkBreadth::Narrow),
            ("203.0.113.0/24", NetworkBreadth::Narrow),
            ("203.0.112.0/23", NetworkBreadth::Wide),
            ("0.0.0.0/0", NetworkBreadth::Global),
            ("128.0.0.0/1", NetworkBreadth::Global),
            ("fc00::/7", NetworkBreadth::Narrow),
            ("2001:db8::/48", NetworkBreadth::Narrow),
            ("2001:db8::/32", NetworkBreadth::Wide),
            ("::/0", NetworkBreadth::Global),
            ("::ffff:0:0/96", NetworkBreadth::Global),
            ("::ffff:10.0.0.0/104", NetworkBreadth::Narrow),
            ("2000::/3", NetworkBreadth::Global),
            ("2000::/15", NetworkBreadth::Global),
            ("2001::/16", NetworkBreadth::Wide),
            ("8.0.0.0/7", NetworkBreadth::Global),
            ("8.0.0.0/8", NetworkBreadth::Wide),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
        assert_eq!(of("unix"), None);
    }
}
