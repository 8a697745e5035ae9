//! Limits against abuse: how much one address, or one user, may have and do.
//!
//! The one table is common to all shards of a process, because the kernel spreads the connections
//! of an address over them. It is only looked at when a connection comes or goes, at a handshake,
//! when a session begins or ends, and at a command without a session; never for a message. A lock
//! of one of its parts is then held for less than a microsecond.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest;

use crate::base::time::{Instant, Span};
use crate::mem::aging::{Age, Aging};
use crate::mem::bucket::{Bucket, Rate};
use crate::relay::network::Network;

/// As much may come at once as comes in so many seconds.
const AT_ONCE: u32 = 5;
/// Parts of a table, each behind a lock of its own.
const PARTS: usize = 64;
/// Addresses, or users, that one part remembers beside those that have a connection or a session.
const REMEMBERED: usize = 2_048;

/// What is allowed; 0 stands for no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of one address at a time.
    pub connections: u32,
    /// TLS handshakes of one address a second.
    pub handshakes: u32,
    /// New sessions of one address a second.
    pub logins: u32,
    /// Sessions of one user at a time.
    pub sessions: u32,
    /// Commands of one session a second, and those without a session of one address.
    pub commands: u32,
    /// Bytes a second that a request's body must bring, once it has had `body_timeout`.
    pub body_bytes: u32,
    /// Addresses that are bounded by none of these: networks such as `10.0.0.0/8`.
    pub exempt: Vec<String>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 500,
            handshakes: 20,
            logins: 20,
            sessions: 100,
            commands: 100,
            body_bytes: 500,
            // Load balancers and tools of this machine.
            exempt: vec!["127.0.0.0/8".into(), "::1".into()],
        }
    }
}

/// What an address is to the limits: an IPv4 address, or the first 64 bits of one of IPv6, which a
/// single host has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Source {
    fn part(self) -> usize {
        let bits = match self {
            Self::V4(bits) => u64::from(bits),
            Self::V6(bits) => bits,
        };
        // Neighbours are spread; whoever aims at one part makes that one wait, and no more.
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % PARTS
    }
}

#[derive(Debug, Default)]
struct Known {
    connections: u32,
    handshakes: Bucket,
    logins: Bucket,
    requests: Bucket,
}

impl Known {
    fn age(&self, now: Instant) -> Age {
        if self.connections > 0 {
            Age::Held
        } else if [self.handshakes, self.logins, self.requests].iter().all(|one| one.is_full(now)) {
            Age::Old
        } else {
            Age::Fresh
        }
    }
}

/// The table of a process.
///
/// ```
/// use ahm::base::time::Instant;
/// use ahm::proto::limits::{Bounds, Limits};
/// let limits = Limits::new(Bounds { connections: 2, ..Bounds::default() });
/// let (anna, bert) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
/// assert!(limits.admit(anna, Instant::ZERO) && limits.admit(anna, Instant::ZERO));
/// assert!(!limits.admit(anna, Instant::ZERO) && limits.admit(bert, Instant::ZERO));
/// limits.leave(anna, Instant::ZERO);
/// assert!(limits.admit(anna, Instant::ZERO));
/// let here = "127.0.0.1".parse().unwrap();
/// assert!((0..9).all(|_| limits.admit(here, Instant::ZERO)), "is exempt");
/// ```
pub struct Limits {
    bounds: Bounds,
    exempt: Vec<Network>,
    handshakes: Option<Rate>,
    logins: Option<Rate>,
    commands: Option<Rate>,
    addresses: Box<[Mutex<Aging<Source, Known>>]>,
    /// By the first bytes of the SHA-256 of the name.
    users: Box<[Mutex<Aging<u128, u32>>]>,
}

impl Limits {
    /// A table without entries. What of `exempt` is no network exempts nobody.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            exempt: bounds.exempt.iter().filter_map(|text| text.parse().ok()).collect(),
            handshakes: Rate::per_second(bounds.handshakes, AT_ONCE),
            logins: Rate::per_second(bounds.logins, AT_ONCE),
            commands: Rate::per_second(bounds.commands, AT_ONCE),
            addresses: (0..PARTS).map(|_| Mutex::new(Aging::new(REMEMBERED))).collect(),
            users: (0..PARTS).map(|_| Mutex::new(Aging::new(REMEMBERED))).collect(),
            bounds,
        }
    }

    /// Whether nothing of this bounds the address.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.has(address))
    }

    /// Whether one more connection of the address may come; if so it counts until it
    /// [leaves](Self::leave).
    #[must_use]
    pub fn admit(&self, address: IpAddr, now: Instant) -> bool {
        self.count_in(address, true, now)
    }

    /// Counts one more connection of the address, which is there already; says whether it may stay.
    #[must_use]
    pub fn enter(&self, address: IpAddr, now: Instant) -> bool {
        self.count_in(address, false, now)
    }

    fn count_in(&self, address: IpAddr, only_if: bool, now: Instant) -> bool {
        if self.bounds.connections == 0 || self.is_exempt(address) {
            return true;
        }
        let source = address.into();
        let mut part = self.part(source);
        let known = part.entry(source, |known| known.age(now));
        let fits = known.connections < self.bounds.connections;
        if fits || !only_if {
            known.connections = known.connections.saturating_add(1);
        }
        fits
    }

    /// A connection that was counted has ended.
    pub fn leave(&self, address: IpAddr, now: Instant) {
        if self.bounds.connections == 0 || self.is_exempt(address) {
            return;
        }
        let source = address.into();
        let mut part = self.part(source);
        if let Some(known) = part.get(source) {
            known.connections = known.connections.saturating_sub(1);
        }
        part.settle(source, |known| known.age(now));
    }

    /// Whether the address may begin a TLS handshake, which then counts.
    #[must_use]
    pub fn allow_handshake(&self, address: IpAddr, now: Instant) -> bool {
        self.allow(address, self.handshakes, |known| &mut known.handshakes, now)
    }

    /// Whether the address may begin a session, which then counts.
    #[must_use]
    pub fn allow_login(&self, address: IpAddr, now: Instant) -> bool {
        self.allow(address, self.logins, |known| &mut known.logins, now)
    }

    fn allow(
        &self,
        address: IpAddr,
        rate: Option<Rate>,
        bucket: impl FnOnce(&mut Known) -> &mut Bucket,
        now: Instant,
    ) -> bool {
        let Some(rate) = rate.filter(|_| !self.is_exempt(address)) else { return true };
        let source = address.into();
        bucket(self.part(source).entry(source, |known| known.age(now))).take(rate, now)
    }

    /// Whether the address may have a command carried out that is of no session.
    #[must_use]
    pub fn allow_request(&self, address: IpAddr, now: Instant) -> bool {
        self.allow(address, self.commands, |known| &mut known.requests, now)
    }

    /// Whether a command is allowed by what is left in its session's bucket.
    #[must_use]
    pub fn allow_command(&self, address: IpAddr, bucket: &mut Bucket, now: Instant) -> bool {
        self.commands.is_none_or(|rate| bucket.take(rate, now) || self.is_exempt(address))
    }

    /// Whether the user may have one more session; if so it counts until it
    /// [leaves](Self::leave_user). No address is exempt: whoever is known is the same everywhere.
    #[must_use]
    pub fn admit_user(&self, user: &str) -> bool {
        if self.bounds.sessions == 0 {
            return true;
        }
        let (key, mut part) = self.user(user);
        let sessions = part.entry(key, age_of_count);
        let fits = *sessions < self.bounds.sessions;
        *sessions += u32::from(fits);
        fits
    }

    /// A session of the user that was counted has ended.
    pub fn leave_user(&self, user: &str) {
        if self.bounds.sessions == 0 {
            return;
        }
        let (key, mut part) = self.user(user);
        if let Some(sessions) = part.get(key) {
            *sessions = sessions.saturating_sub(1);
        }
        part.settle(key, age_of_count);
    }

    /// The moment by which a body must be whole that began then and of which so many bytes are
    /// here; `patience` is what it has without any.
    pub fn body_until(&self, began: Instant, bytes: u64, patience: Span) -> Instant {
        match self.bounds.body_bytes {
            0 => Instant::NEVER,
            rate => began + patience + Span::from_secs(1).fraction(bytes, u64::from(rate)),
        }
    }

    /// Addresses and users that are remembered.
    pub fn remembered(&self) -> (usize, usize) {
        let addresses = self.addresses.iter().map(|part| locked(part).len()).sum();
        (addresses, self.users.iter().map(|part| locked(part).len()).sum())
    }

    fn part(&self, source: Source) -> MutexGuard<'_, Aging<Source, Known>> {
        locked(&self.addresses[source.part()])
    }

    fn user(&self, user: &str) -> (u128, MutexGuard<'_, Aging<u128, u32>>) {
        let digest = digest::digest(&digest::SHA256, user.as_bytes());
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        let key = u128::from_le_bytes(first);
        (key, locked(&self.users[key as usize % PARTS]))
    }
}

fn age_of_count(count: &u32) -> Age {
    if *count > 0 { Age::Held } else { Age::Old }
}

/// What a lock guards is whole at any moment, also where a thread has panicked meanwhile.
fn locked<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without the table.
impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_of_ipv6_is_its_first_64_bits_and_a_mapped_address_is_ipv4() {
        let limits = Limits::new(Bounds { connections: 1, ..Bounds::default() });
        for (address, fits) in [
            ("2001:db8:0:1::1", true),
            ("2001:db8:0:1::2", false),
            ("2001:db8:0:2::1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.1", true),
        ] {
            assert_eq!(limits.admit(ip(address), NOW), fits, "{address}");
        }
    }

    #[test]
    fn a_rate_is_that_of_its_address() {
        let bounds = Bounds { handshakes: 2, logins: 1, ..Bounds::default() };
        let limits = Limits::new(bounds);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let many = |address, now| (0..100).filter(|_| limits.allow_handshake(address, now)).count();
        assert_eq!((many(one, NOW), many(other, NOW)), (10, 10));
        assert_eq!((0..100).filter(|_| limits.allow_login(one, NOW)).count(), 5);
        assert_eq!(many(one, NOW + Span::from_secs(1)), 2);
        assert_eq!(many(ip("127.0.0.1"), NOW), 100);
    }

    #[test]
    fn a_million_addresses_are_not_remembered_for_long() {
        let limits = Limits::new(Bounds::default());
        for number in 0..1_000_000u32 {
            let address = IpAddr::from(number.wrapping_mul(2_654_435_761).to_be_bytes());
            let _ = limits.allow_login(address, NOW + Span::from_micros(u64::from(number)));
        }
        assert!(limits.remembered().0 <= PARTS * REMEMBERED);
        // Who has a connection is not forgotten for their sake.
        let held = ip("192.0.2.1");
        assert!(limits.admit(held, NOW));
        for number in 0..1_000_000u32 {
            let address = IpAddr::from((number | 0x0b00_0000).to_be_bytes());
            let _ = limits.allow_login(address, NOW);
        }
        assert!(limits.remembered().0 <= PARTS * REMEMBERED + 1);
        let again = (0..1_000).filter(|_| limits.admit(held, NOW)).count();
        assert_eq!(again, Bounds::default().connections as usize - 1);
    }

    #[test]
    fn who_comes_and_goes_leaves_nothing_behind() {
        let limits = Limits::new(Bounds { sessions: 2, ..Bounds::default() });
        for number in 0..10_000u32 {
            let address = IpAddr::from((number | 0x0b00_0000).to_be_bytes());
            assert!(limits.admit(address, NOW) && limits.admit_user(&number.to_string()));
            limits.leave(address, NOW);
            limits.leave_user(&number.to_string());
        }
        assert_eq!(limits.remembered(), (0, 0));
        let sessions = || (0..9).filter(|_| limits.admit_user("anna")).count();
        assert_eq!(sessions(), 2);
        limits.leave_user("anna");
        assert_eq!(sessions(), 1);
    }

    #[test]
    fn a_body_that_drips_has_its_end() {
        let limits = Limits::new(Bounds { body_bytes: 500, ..Bounds::default() });
        let patience = Span::from_secs(30);
        let at = |bytes| limits.body_until(NOW, bytes, patience).since(NOW).as_secs();
        assert_eq!((at(0), at(500), at(1_000_000)), (30, 31, 2_030));
    }
}
