//! The addresses that an entry of `http.trusted_proxies` trusts.

use ipnet::IpNet;

use crate::http::forwarded::network;
use crate::network::is_private;

/// Owners of the addresses in a network of trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    Own,
    Strangers,
    Everybody,
}

/// Returns the breadth of an address or a network; `None` for any other text, such as `unix`.
pub(crate) fn of(text: &str) -> Option<Breadth> {
    let network = network(text)?;
    let (enough, everybody) = match network {
        IpNet::V4(_) => (24, 8),
        IpNet::V6(_) => (48, 16),
    };
    let private = is_private(network.network()) && is_private(network.broadcast());
    Some(match network.prefix_len() {
        _ if private => Breadth::Own,
        prefix if prefix < everybody => Breadth::Everybody,
        prefix if prefix < enough => Breadth::Strangers,
        _ => Breadth::Own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_judged_by_the_strangers_in_it() {
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
