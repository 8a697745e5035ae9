//! The PROXY protocol.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ahm::http::proxy::introduction;
use proptest::prelude::*;

use crate::edits::{edited, edits, verdicts};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn socket() -> impl Strategy<Value = SocketAddr> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ];
    (address, any::<u16>()).prop_map(SocketAddr::from)
}

/// Both versions of one introduction; `more` is what a balancer tells besides.
fn both(from: SocketAddr, to: SocketAddr, more: &[u8]) -> [Vec<u8>; 2] {
    let is_old = from.is_ipv4() && to.is_ipv4();
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let (from_wide, to_wide): (Ipv6Addr, Ipv6Addr) = (wide(from.ip()), wide(to.ip()));
    let line = match is_old {
        true => format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()),
        false => format!("PROXY TCP6 {from_wide} {to_wide} {} {}\r\n", from.port(), to.port()),
    };
    let mut rest = Vec::new();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => rest.extend([from.octets(), to.octets()].concat()),
        _ => rest.extend([from_wide.octets(), to_wide.octets()].concat()),
    }
    rest.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    rest.extend(more);
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, if is_old { 0x11 } else { 0x21 }]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    [line.into_bytes(), header]
}

const ALPHABET: &[u8] = b"\r\n 0:.PROXYTCUNKW46\x00\x11\x20\x21\xff";

#[test]
fn changed_ones_are_found_and_refused() {
    let (from, to) = ("192.0.2.7:41000".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let counts = verdicts((0..2usize, edits(ALPHABET)), |(which, edits)| {
        match introduction(&edited(&both(from, to, &[])[which], &edits)) {
            Ok(Some(_)) => "found",
            Ok(None) => "more",
            Err(_) => "refused",
        }
    });
    assert!(["found", "more", "refused"].iter().all(|what| counts[what] > 20), "{counts:?}");
}

proptest! {
    #[test]
    fn who_was_introduced_is_found(
        from in socket(),
        to in socket(),
        more in prop::collection::vec(any::<u8>(), 0..100),
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let client = match (from.ip(), to.ip()) {
            (IpAddr::V4(address), IpAddr::V6(_)) => (address.to_ipv6_mapped(), from.port()).into(),
            _ => from,
        };
        for bytes in both(from, to, &more) {
            let all = [&bytes[..], &behind].concat();
            let found = introduction(&all).unwrap().unwrap();
            prop_assert_eq!(found.client, Some(client));
            prop_assert_eq!(found.bytes, bytes.len());
            for end in 0..bytes.len() {
                prop_assert_eq!(introduction(&bytes[..end]), Ok(None));
            }
        }
    }

    #[test]
    fn what_is_said_of_a_part_holds_of_the_whole(
        from in socket(),
        to in socket(),
        which in 0..2usize,
        edits in edits(ALPHABET),
    ) {
        let bytes = edited(&both(from, to, &[])[which], &edits);
        let whole = introduction(&bytes);
        if let Ok(Some(found)) = &whole {
            prop_assert!(found.bytes <= bytes.len() && found.bytes >= 8, "{:?}", found);
        }
        for end in 0..bytes.len() {
            match introduction(&bytes[..end]) {
                Ok(None) => {}
                said => prop_assert_eq!(&said, &whole),
            }
        }
        // Nobody waits for ever: an introduction has an end.
        let more = [&bytes[..], &[b'1'; 5_000]].concat();
        prop_assert_ne!(introduction(&more), Ok(None));
    }
}
