//! A hierarchical timer wheel on integer time.
//!
//! Timers are never cancelled: whoever set one compares a timer that fires with the deadline it
//! holds itself, and ignores it or sets it anew. So moving a deadline later, which happens with
//! every byte that arrives, costs nothing here.
//!
//! Time is cut into ticks, counted from the start of the process. The digits to base 64 of a
//! timer's tick place it: a timer whose tick first differs from the current one in digit L (counted
//! from the lowest) waits on level L, in the slot that this digit names. When the current tick
//! reaches a slot of a level above the lowest, the slot's timers are spread over the levels below,
//! at most five times in a timer's life. Slots are linked lists through one arena, and because the
//! slot knows the high digits, an entry keeps only the low 32 bits of its tick: 8 bytes more than
//! the value. A level's occupied slots are a word of bits, so that a jump of a year costs no more
//! than a step.

use std::fmt;
use std::mem::size_of;

use crate::base::time::{Instant, Span};

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 6;
/// Ticks from here on wait in a list of their own: at 1 ms a tick that is two years away.
const HORIZON_BITS: u32 = DIGIT_BITS * LEVELS as u32;
/// The end of a list.
const NIL: u32 = u32::MAX;

// A slot of level L knows the digits from L up, the entry the bits below.
const _: () = assert!(DIGIT_BITS * (LEVELS as u32 - 1) <= u32::BITS);

#[derive(Clone, Copy)]
struct Entry<T> {
    tick_low: u32,
    next: u32,
    value: T,
}

/// What the current tick meets next.
enum Stop {
    Slot { level: usize, slot: usize },
    Far,
}

/// Timers ordered by deadline: `insert` in constant time, `pop` in amortised constant time.
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// use ahm::mem::wheel::Wheel;
///
/// let start = Instant::ZERO;
/// let mut wheel = Wheel::new(start, Span::from_millis(1));
/// wheel.insert(start + Span::from_millis(20), 'b');
/// wheel.insert(start + Span::from_millis(10), 'a');
/// assert_eq!(wheel.pop(start + Span::from_millis(9)), None);
/// assert_eq!(wheel.pop(start + Span::from_millis(30)), Some('a'));
/// assert_eq!(wheel.pop(start + Span::from_millis(30)), Some('b'));
/// assert_eq!(wheel.next(), None);
/// ```
pub struct Wheel<T> {
    tick_nanos: u64,
    /// The latest moment seen; no timer in a slot or in `far` is due at it.
    now: u64,
    /// The tick that slots are relative to. Everything in a slot or in `far` lies after it.
    current: u64,
    /// Timers that the next `pop` may take.
    due: u32,
    free: u32,
    entries: Vec<Entry<T>>,
    occupied: [u64; LEVELS],
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    far: Vec<(u64, T)>,
    /// The least tick in `far`.
    far_min: u64,
    len: usize,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel at `now`. A timer fires less than `tick` late, never early; a `tick` of zero
    /// counts as one nanosecond.
    pub fn new(now: Instant, tick: Span) -> Self {
        let mut wheel = Self {
            tick_nanos: tick.as_nanos().max(1),
            now: now.as_nanos(),
            current: 0,
            due: NIL,
            free: NIL,
            entries: Vec::new(),
            occupied: [0; LEVELS],
            heads: Box::new([[NIL; SLOTS]; LEVELS]),
            far: Vec::new(),
            far_min: u64::MAX,
            len: 0,
        };
        wheel.current = wheel.tick_reached(now);
        wheel
    }

    /// Sets a timer. One that is not after the latest moment given to `pop` fires at the next
    /// `pop`, whatever that is given: who sets such timers while taking them all never ends.
    ///
    /// # Panics
    ///
    /// With 2^32 - 1 timers set at once, which is 64 GiB of them.
    pub fn insert(&mut self, at: Instant, value: T) {
        let tick = at.as_nanos().div_ceil(self.tick_nanos);
        self.len += 1;
        if at.as_nanos() > self.now && (tick ^ self.current) >> HORIZON_BITS != 0 {
            self.far_min = self.far_min.min(tick);
            self.far.push((tick, value));
            return;
        }
        let index = self.occupy(Entry { tick_low: tick as u32, next: NIL, value });
        self.place(index, if at.as_nanos() > self.now { tick } else { self.current });
    }

    /// Takes one timer that is due at `now`, those of earlier ticks first; among timers of the same
    /// tick the order is deterministic but otherwise unspecified. At [`Instant::NEVER`] every timer
    /// is due. A `now` earlier than the latest one seen is taken for that one.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.now = self.now.max(now.as_nanos());
        if self.due == NIL {
            self.advance(self.tick_reached(Instant::from_nanos(self.now)));
        }
        let index = self.due;
        let entry = self.entries.get_mut(index as usize)?;
        self.due = entry.next;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        Some(entry.value)
    }

    /// When to call `pop` next: not later than the moment at which it has something to give, but
    /// maybe earlier (a slot wants to be spread); `None` while no timer is set. After a `pop` that
    /// gave nothing this lies after the moment it was given, so whoever waits for it makes progress
    /// and calls in vain at most six times a timer.
    pub fn next(&self) -> Option<Instant> {
        let tick = if self.due == NIL { self.next_stop()?.0 } else { self.current };
        Some(Instant::from_nanos(tick.saturating_mul(self.tick_nanos)))
    }

    /// Timers set and not yet taken, outlived ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held, the places of timers already taken included; they are used again and
    /// never given back.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<[[u32; SLOTS]; LEVELS]>()
            + self.entries.capacity() * size_of::<Entry<T>>()
            + self.far.capacity() * size_of::<(u64, T)>()
    }

    /// The last tick that has begun at `now`. The end of time completes the tick it lies in, since
    /// no later moment could.
    fn tick_reached(&self, now: Instant) -> u64 {
        if now == Instant::NEVER {
            now.as_nanos().div_ceil(self.tick_nanos)
        } else {
            now.as_nanos() / self.tick_nanos
        }
    }

    /// Goes forward until a timer is due, or to `target`.
    fn advance(&mut self, target: u64) {
        while self.due == NIL {
            let Some((tick, stop)) = self.next_stop().filter(|&(tick, _)| tick <= target) else {
                self.current = self.current.max(target);
                return;
            };
            debug_assert!(tick > self.current);
            self.current = tick;
            match stop {
                Stop::Slot { level, slot } => self.open(level, slot),
                Stop::Far => self.sweep(),
            }
        }
    }

    /// The next tick at which something happens. All timers of a level come before all timers of
    /// the level above, and within a level slots are in order, so the first one found is it.
    fn next_stop(&self) -> Option<(u64, Stop)> {
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied != 0 {
                let slot = occupied.trailing_zeros();
                let shift = DIGIT_BITS * level as u32;
                let above = self.current >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
                let tick = above | u64::from(slot) << shift;
                return Some((tick, Stop::Slot { level, slot: slot as usize }));
            }
        }
        let stop = self.far_min >> HORIZON_BITS << HORIZON_BITS;
        (!self.far.is_empty()).then_some((stop, Stop::Far))
    }

    /// Empties a slot that the current tick has just reached.
    fn open(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
        let mut index = std::mem::replace(&mut self.heads[level][slot], NIL);
        if level == 0 {
            self.due = index;
            return;
        }
        let low = (1u64 << (DIGIT_BITS * level as u32)) - 1;
        while index != NIL {
            let entry = self.entries[index as usize];
            self.place(index, self.current & !low | u64::from(entry.tick_low) & low);
            index = entry.next;
        }
    }

    /// Moves what now lies within the horizon from the list of far timers into slots.
    fn sweep(&mut self) {
        let epoch = self.current >> HORIZON_BITS;
        self.far_min = u64::MAX;
        let mut at = 0;
        while let Some(&(tick, value)) = self.far.get(at) {
            if tick >> HORIZON_BITS == epoch {
                self.far.swap_remove(at);
                let index = self.occupy(Entry { tick_low: tick as u32, next: NIL, value });
                self.place(index, tick);
            } else {
                self.far_min = self.far_min.min(tick);
                at += 1;
            }
        }
    }

    /// Links an entry whose tick lies within the horizon.
    fn place(&mut self, index: u32, tick: u64) {
        let head = if tick <= self.current {
            &mut self.due
        } else {
            let level = ((tick ^ self.current).ilog2() / DIGIT_BITS) as usize;
            let slot = (tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
            self.occupied[level] |= 1 << slot;
            &mut self.heads[level][slot]
        };
        self.entries[index as usize].next = std::mem::replace(head, index);
    }

    /// Finds a place in the arena.
    fn occupy(&mut self, entry: Entry<T>) -> u32 {
        if let Some(place) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            self.free = place.next;
            *place = entry;
            return index;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&index| index != NIL);
        let index = index.expect("fewer than 2^32 - 1 timers are set at once");
        if self.entries.len() == self.entries.capacity() {
            // By a quarter instead of double: there are several timers to every idle stream.
            self.entries.reserve_exact((self.entries.len() / 4).max(32));
        }
        self.entries.push(entry);
        index
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("tick_nanos", &self.tick_nanos)
            .field("current", &self.current)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const MILLI: Span = Span::from_millis(1);

    fn nanos(n: u64) -> Instant {
        Instant::from_nanos(n)
    }

    /// The same by a sorted list: what is due, by the rule, and nothing else.
    struct Twin {
        tick: u64,
        now: u64,
        /// The latest moment that the wheel was told.
        seen: u64,
        /// (tick it is due at, value), latest first.
        timers: Vec<(u64, u32)>,
    }

    impl Twin {
        fn insert(&mut self, at: u64, value: u32) {
            let due = if at <= self.seen { 0 } else { at.div_ceil(self.tick) };
            let place = self.timers.partition_point(|&(other, _)| other > due);
            self.timers.insert(place, (due, value));
        }

        fn first_due(&self) -> Option<u64> {
            let reached = if self.now == u64::MAX { u64::MAX } else { self.now / self.tick };
            self.timers.last().map(|&(due, _)| due).filter(|&due| due <= reached)
        }

        fn remove(&mut self, due: u64, value: u32) -> bool {
            let place = self.timers.iter().rposition(|&timer| timer == (due, value));
            place.map(|place| self.timers.remove(place)).is_some()
        }
    }

    /// A number of any magnitude up to 2^`bits_max`.
    fn magnitude(random: &mut Random, bits_max: u64) -> u64 {
        let bits = random.below(bits_max + 1);
        random.next() >> 1 >> (63 - bits)
    }

    fn run_beside_twin(seed: u64, tick: u64, bits_max: u64, steps: u32) {
        let random = &mut Random::from_number(seed);
        let start = magnitude(random, 40);
        let mut twin = Twin { tick, now: start, seen: start, timers: Vec::new() };
        let mut wheel = Wheel::new(nanos(start), Span::from_nanos(tick));
        for value in 0..steps {
            match random.below(8) {
                0..5 => {
                    let far = magnitude(random, bits_max);
                    let at = match random.below(16) {
                        0 => twin.now.saturating_sub(far),
                        1 if bits_max == 63 => u64::MAX - magnitude(random, 20),
                        _ => twin.now.saturating_add(far),
                    };
                    twin.insert(at, value);
                    wheel.insert(nanos(at), value);
                }
                5 => twin.now = twin.now.saturating_add(magnitude(random, bits_max)),
                6 => {
                    // As a shard does: wait for just as long as the wheel says.
                    twin.now = wheel.next().map_or(0, Instant::as_nanos).max(twin.now);
                }
                _ => twin.now = twin.now.saturating_add(tick),
            }
            let pops = if random.below(3) == 0 { random.below(4) } else { u64::MAX };
            check(&mut wheel, &mut twin, pops);
        }
        twin.now = u64::MAX;
        check(&mut wheel, &mut twin, u64::MAX);
        assert!(wheel.is_empty() && twin.timers.is_empty(), "seed {seed}");
    }

    /// Takes up to `pops` timers from both and compares all that can be seen.
    fn check(wheel: &mut Wheel<u32>, twin: &mut Twin, pops: u64) {
        for _ in 0..pops {
            twin.seen = twin.now;
            let first = twin.first_due();
            let popped = wheel.pop(nanos(twin.now));
            assert_eq!(popped.is_some(), first.is_some(), "now {} first {first:?}", twin.now);
            let (Some(value), Some(due)) = (popped, first) else {
                if let Some(next) = wheel.next() {
                    assert!(next.as_nanos() > twin.now, "a wait for {next:?} makes no progress");
                }
                break;
            };
            assert!(twin.remove(due, value), "{value} came out of turn");
        }
        assert_eq!(wheel.len(), twin.timers.len());
        let first = twin.timers.last().map(|&(due, _)| due.saturating_mul(twin.tick));
        match (wheel.next(), first) {
            (None, None) => {}
            (Some(next), Some(due)) => {
                assert!(next.as_nanos() <= due.max(twin.now), "{next:?} {due}");
            }
            different => panic!("{different:?}"),
        }
    }

    #[test]
    fn agrees_with_a_sorted_list_at_any_pace() {
        for seed in 0..40 {
            run_beside_twin(seed, 1_000_000, 34, 1_000);
            run_beside_twin(seed, 1_000_000, 63, 1_000);
            run_beside_twin(seed, 1, 63, 1_000);
            run_beside_twin(seed, 1, 12, 1_000);
            run_beside_twin(seed, 999_983, 44, 1_000);
            run_beside_twin(seed, u64::MAX, 63, 200);
        }
    }

    #[test]
    fn a_tick_of_zero_is_a_nanosecond() {
        let mut wheel = Wheel::new(nanos(5), Span::ZERO);
        wheel.insert(nanos(7), ());
        assert_eq!((wheel.pop(nanos(6)), wheel.pop(nanos(7))), (None, Some(())));
    }

    #[test]
    fn never_early_and_less_than_a_tick_late() {
        let mut wheel = Wheel::new(nanos(1_500_000), MILLI);
        wheel.insert(nanos(2_000_001), 'x');
        assert_eq!(wheel.next(), Some(nanos(3_000_000)));
        assert_eq!(wheel.pop(nanos(2_999_999)), None);
        assert_eq!(wheel.pop(nanos(3_000_000)), Some('x'));
    }

    #[test]
    fn the_past_fires_at_the_next_pop_even_within_the_current_tick() {
        let mut wheel = Wheel::new(Instant::ZERO, MILLI);
        assert_eq!(wheel.pop(nanos(1_500_000)), None);
        wheel.insert(nanos(1_200_000), 'a');
        wheel.insert(Instant::ZERO, 'b');
        wheel.insert(nanos(1_500_000), 'c');
        assert!(wheel.next().unwrap() <= nanos(1_500_000));
        let mut popped: Vec<char> = std::iter::from_fn(|| wheel.pop(nanos(1_500_000))).collect();
        popped.sort_unstable();
        assert_eq!(popped, ['a', 'b', 'c']);
    }

    #[test]
    fn time_that_goes_back_changes_nothing() {
        let mut wheel = Wheel::new(Instant::ZERO, MILLI);
        wheel.insert(nanos(9_000_000), 'a');
        assert_eq!(wheel.pop(nanos(8_000_000)), None);
        assert_eq!(wheel.pop(Instant::ZERO), None);
        assert_eq!(wheel.pop(nanos(9_000_000)), Some('a'));
    }

    #[test]
    fn the_end_of_time_comes_at_the_end_of_time() {
        let mut wheel = Wheel::new(Instant::ZERO, MILLI);
        wheel.insert(Instant::NEVER, 'n');
        wheel.insert(nanos(u64::MAX - 1), 'm');
        assert_eq!(wheel.pop(nanos(u64::MAX - 2)), None);
        assert!(wheel.next().is_some_and(|next| next > nanos(u64::MAX - 2)));
        assert!(wheel.pop(Instant::NEVER).is_some());
        assert!(wheel.pop(Instant::NEVER).is_some());
        assert_eq!((wheel.pop(Instant::NEVER), wheel.len()), (None, 0));
    }

    #[test]
    fn a_timer_at_any_distance_needs_few_wakeups() {
        for bits in 0..63 {
            let mut wheel = Wheel::new(nanos(123_456_789), Span::from_nanos(1));
            wheel.insert(nanos(123_456_789 + (1 << bits)), ());
            let mut wakeups = 1;
            while wheel.pop(wheel.next().unwrap()).is_none() {
                wakeups += 1;
            }
            assert!(wakeups <= 7, "{wakeups} wake-ups for 2^{bits} ticks");
        }
    }

    #[test]
    fn a_million_timers_cost_eight_bytes_more_than_their_values() {
        let random = &mut Random::from_number(3);
        let mut wheel: Wheel<u32> = Wheel::new(Instant::ZERO, MILLI);
        for value in 0..1_000_000 {
            wheel.insert(nanos(random.below(60_000_000_000)), value);
        }
        assert!(wheel.bytes() < 1_000_000 * 12 * 5 / 4 + 4096, "{} bytes", wheel.bytes());
        let held = wheel.bytes();
        let (mut now, mut fired) = (Instant::ZERO, 0);
        while fired < 2_000_000 {
            now = wheel.next().unwrap().max(now);
            while let Some(value) = wheel.pop(now) {
                fired += 1;
                // Steady state: what fires is set again, and no more memory is taken.
                wheel.insert(now + MILLI + Span::from_nanos(random.below(60_000_000_000)), value);
            }
        }
        assert_eq!((wheel.len(), wheel.bytes()), (1_000_000, held));
    }
}
