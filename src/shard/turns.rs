//! How long turns take.

use crate::base::time::Span;

/// A turn that takes longer than this is counted: the bounds of its steps add up to less, on a core
/// of its own.
pub const LONG: Span = Span::from_millis(5);

/// The turns of one shard.
///
/// ```
/// use ahm::base::time::Span;
/// use ahm::shard::turns::Turns;
/// let mut turns = Turns::default();
/// [1, 7, 3].into_iter().for_each(|millis| turns.note(Span::from_millis(millis)));
/// assert_eq!((turns.longest, turns.long), (Span::from_millis(7), 1));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// The longest so far.
    pub longest: Span,
    /// How many took longer than [`LONG`].
    pub long: u64,
}

impl Turns {
    /// A turn took so long, from the end of its wait to the beginning of the next.
    pub fn note(&mut self, span: Span) {
        self.longest = self.longest.max(span);
        self.long += u64::from(span > LONG);
    }
}
