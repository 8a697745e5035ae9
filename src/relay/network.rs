//! Networks: an address, or all that begin alike.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `10.0.0.0/8`, `fd00::/8`, or one address.
///
/// ```
/// use ahm::relay::network::Network;
/// let inside: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(inside.has("10.1.2.3".parse().unwrap()) && !inside.has("11.1.2.3".parse().unwrap()));
/// assert!(inside.has("::ffff:10.1.2.3".parse().unwrap()), "the same address, written otherwise");
/// assert!("10.0.0.1/8".parse::<Network>().is_err(), "bits behind the prefix are not zero");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is one of it.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    const fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network: give 10.0.0.0/8, fd00::/8 or one address");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = Self::width(first);
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
            None => width,
        };
        let spare = match first {
            IpAddr::V4(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
            IpAddr::V6(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
        };
        if spare {
            return Err(format!("{text:?}: bits behind the first {prefix} are not zero"));
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == Self::width(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_what_begins_alike() {
        for (network, address, is_in) in [
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "10.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.128/25", "192.0.2.255", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.has(address.parse().unwrap()), is_in, "{network} {address}");
            assert_eq!(parsed.to_string(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for bad in ["", "a", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1/31"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
