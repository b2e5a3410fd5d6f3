//! Which addresses the server may fetch from. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use snafu::Snafu;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Debug, Snafu)]
#[snafu(display("{text:?} is not a range of addresses: 10.0.0.0/8, fd00::/8 or one address is needed"))]
pub struct InvalidCidr {
    text: String,
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCidrSnafu { text }.build();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| invalid())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(number) => number.parse().map_err(|_| invalid())?,
            None => longest,
        };
        if prefix > longest {
            return Err(invalid());
        }
        Ok(Self { network, prefix })
    }
}

impl Cidr {
    /// Whether an address lies in this range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether this range lies within the loopback addresses, so that loopback is named on purpose.
    fn is_loopback(&self) -> bool {
        match self.network {
            IpAddr::V4(network) => network.is_loopback() && self.prefix >= 8,
            IpAddr::V6(network) => network.is_loopback() && self.prefix == 128,
        }
    }
}

/// Why nothing may be fetched from an address, whatever the lists say; `None` if it may.
///
/// `ranges` matter for loopback alone: it is open where a range within loopback names it.
#[must_use]
pub fn forbidden(address: IpAddr, ranges: &[Cidr]) -> Option<&'static str> {
    let address = effective(address);
    if address.is_loopback() {
        let named = ranges.iter().any(|range| range.is_loopback() && range.contains(address));
        return (!named).then_some("a loopback address");
    }
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    const METADATA: [Ipv4Addr; 3] =
        [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
    if address.is_link_local() {
        Some("a link-local address")
    } else if address.is_broadcast() || address.octets()[0] == 0 {
        Some("no address of a host")
    } else {
        METADATA.contains(&address).then_some("a cloud's metadata address")
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if address.is_unicast_link_local() {
        Some("a link-local address")
    } else {
        (address == METADATA).then_some("a cloud's metadata address")
    }
}

/// The address that packets end up at: IPv4 inside of IPv6 (mapped, compatible, NAT64, 6to4) is IPv4.
#[must_use]
pub fn effective(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let last = |bits: u128| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or_default()));
    let bits = v6.to_bits();
    let nat64 = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let compatible = bits >> 32 == 0 && bits > 1;
    if v6.to_ipv4_mapped().is_some() || nat64 || compatible {
        last(bits)
    } else if v6.segments()[0] == 0x2002 {
        last(bits >> 80)
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn range(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_contains_its_addresses_and_no_others() {
        assert!(range("10.0.0.0/8").contains(ip("10.255.0.1")));
        assert!(!range("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(range("0.0.0.0/0").contains(ip("1.2.3.4")));
        assert!(!range("0.0.0.0/0").contains(ip("::1")));
        assert!(range("192.168.1.1").contains(ip("192.168.1.1")));
        assert!(!range("192.168.1.1").contains(ip("192.168.1.2")));
        assert!(range("fd00::/8").contains(ip("fdff::1")));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "x/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn dangerous_addresses_are_forbidden_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "0.1.2.3",
            "100.100.100.200",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(forbidden(ip(text), &[range("0.0.0.0/0"), range("::/0")]).is_some(), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_not_forbidden() {
        for text in ["10.0.0.1", "192.168.0.1", "172.16.0.1", "fd12::1", "93.184.216.34"] {
            assert_eq!(forbidden(ip(text), &[]), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_open_only_where_a_range_names_it() {
        assert_eq!(forbidden(ip("127.0.0.1"), &[range("127.0.0.0/8")]), None);
        assert_eq!(forbidden(ip("127.0.0.1"), &[range("127.0.0.1")]), None);
        assert_eq!(forbidden(ip("::1"), &[range("::1")]), None);
        assert!(forbidden(ip("127.0.0.2"), &[range("127.0.0.1/32")]).is_some());
        assert!(forbidden(ip("127.0.0.1"), &[range("64.0.0.0/2")]).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f.:/-]{0,50}") {
            let _ = text.parse::<Cidr>();
        }

        #[test]
        fn every_range_contains_its_own_address(bits: u32, prefix in 0_u8..=32) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
            let cidr = Cidr { network: address, prefix };
            prop_assert!(cidr.contains(address));
        }
    }
}
