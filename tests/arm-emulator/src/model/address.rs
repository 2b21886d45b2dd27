//! Addresses of one subnet: the lowest free one is given, five are Azure's own, and some stay held
//! for a while after their NIC is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::time::Millis;

/// Azure keeps the first four addresses of a subnet (network, gateway, two for DNS).
const RESERVED_FIRST: u32 = 4;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u32,
}

impl Cidr {
    /// Parses `10.0.0.0/20`. `None` when malformed, when host bits are set, or when the network
    /// is smaller than Azure's smallest (/29).
    pub fn parse(text: &str) -> Option<Cidr> {
        let (base, prefix) = text.split_once('/')?;
        let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
        let prefix: u32 = prefix.parse().ok().filter(|prefix| (1..=29).contains(prefix))?;
        let cidr = Cidr { base, prefix };
        (base & (cidr.size() - 1) == 0).then_some(cidr)
    }

    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// How many addresses it has, Azure's own included.
    pub fn addresses(self) -> usize {
        usize::try_from(self.size()).unwrap_or(usize::MAX)
    }

    fn last(self) -> u32 {
        self.base + (self.size() - 1)
    }

    /// Whether the other network lies inside this one.
    pub fn contains(self, other: Cidr) -> bool {
        other.base >= self.base && other.last() <= self.last()
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.base <= other.last() && other.base <= self.last()
    }
}

/// Why an address was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// None is free.
    Full,
    /// The wished one is outside the subnet or Azure's own.
    Outside,
    /// The wished one is taken or held.
    Taken,
}

/// The addresses of a subnet.
#[derive(Clone, Debug)]
pub struct Pool {
    cidr: Cidr,
    taken: BTreeSet<u32>,
    held: BTreeMap<u32, Millis>,
    held_until: BTreeSet<(Millis, u32)>,
    given_back: BTreeSet<u32>,
    /// Everything below was given at least once.
    next: u32,
}

impl Pool {
    /// An empty pool.
    pub fn new(cidr: Cidr) -> Pool {
        Pool {
            cidr,
            taken: BTreeSet::new(),
            held: BTreeMap::new(),
            held_until: BTreeSet::new(),
            given_back: BTreeSet::new(),
            next: cidr.base + RESERVED_FIRST,
        }
    }

    /// The network.
    pub fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// Addresses in use by NICs.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Gives the lowest free address.
    ///
    /// # Errors
    /// [`NoAddress::Full`] when none is free, those held included.
    pub fn take(&mut self, now: Millis) -> Result<Ipv4Addr, NoAddress> {
        self.end_holds(now);
        if let Some(address) = self.given_back.pop_first() {
            self.taken.insert(address);
            return Ok(Ipv4Addr::from(address));
        }
        while self.taken.contains(&self.next) || self.held.contains_key(&self.next) {
            self.next += 1;
        }
        if self.next >= self.cidr.last() {
            return Err(NoAddress::Full);
        }
        let address = self.next;
        self.next += 1;
        self.taken.insert(address);
        Ok(Ipv4Addr::from(address))
    }

    /// Gives the wished address.
    ///
    /// # Errors
    /// When it is not of this subnet, or not free.
    pub fn take_this(&mut self, wish: Ipv4Addr, now: Millis) -> Result<Ipv4Addr, NoAddress> {
        self.end_holds(now);
        let wished = u32::from(wish);
        let usable = self.cidr.base + RESERVED_FIRST..self.cidr.last();
        if !usable.contains(&wished) {
            return Err(NoAddress::Outside);
        }
        if self.held.contains_key(&wished) || !self.taken.insert(wished) {
            return Err(NoAddress::Taken);
        }
        self.given_back.remove(&wished);
        Ok(wish)
    }

    /// Takes an address back; until `held_until` nobody gets it.
    pub fn give_back(&mut self, address: Ipv4Addr, held_until: Millis) {
        let address = u32::from(address);
        if self.taken.remove(&address) {
            self.held.insert(address, held_until);
            self.held_until.insert((held_until, address));
        }
    }

    fn end_holds(&mut self, now: Millis) {
        while let Some((until, address)) = self.held_until.first().copied().filter(|h| h.0 <= now) {
            self.held_until.remove(&(until, address));
            self.held.remove(&address);
            // An address beyond `next` was a wish; the cursor will come to it by itself.
            if address < self.next {
                self.given_back.insert(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_subnet_gives_three_addresses_and_is_full() {
        let mut pool = Pool::new(Cidr::parse("10.0.0.8/29").unwrap());
        let given: Vec<String> = (0..3).map(|_| pool.take(0).unwrap().to_string()).collect();
        assert_eq!(given, ["10.0.0.12", "10.0.0.13", "10.0.0.14"]);
        assert_eq!(pool.take(0), Err(NoAddress::Full));
    }

    #[test]
    fn a_held_address_comes_back_when_its_time_is_over() {
        let mut pool = Pool::new(Cidr::parse("10.0.0.0/29").unwrap());
        let first = pool.take(0).unwrap();
        pool.give_back(first, 100);
        assert_ne!(pool.take(50).unwrap(), first);
        assert_eq!(pool.take(100).unwrap(), first);
    }

    #[test]
    fn a_wished_address_is_not_given_twice_nor_from_outside() {
        let mut pool = Pool::new(Cidr::parse("10.0.0.0/24").unwrap());
        let wish: Ipv4Addr = "10.0.0.5".parse().unwrap();
        assert_eq!(pool.take_this(wish, 0), Ok(wish));
        assert_eq!(pool.take_this(wish, 0), Err(NoAddress::Taken));
        assert_eq!(pool.take_this("10.0.0.3".parse().unwrap(), 0), Err(NoAddress::Outside));
        assert_eq!(pool.take(0).unwrap().to_string(), "10.0.0.4");
        assert_eq!(pool.take(0).unwrap().to_string(), "10.0.0.6");
        assert_eq!(Cidr::parse("10.0.0.1/24"), None);
    }
}
