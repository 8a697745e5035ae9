//! Several files of ticks as one stream in order of time, with time-shifted copies.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::name::{NameError, TopicName};
use crate::base::time::Span;
use crate::cli::ticks::{Format, Reading, TickError, TickFile};

/// One message that is due at a moment of the replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it is due, counted from the first tick, at the recorded speed.
    pub at: Span,
    /// The topic it goes to.
    pub name: TopicName,
    /// What it says.
    pub payload: Arc<[u8]>,
}

/// How topics are named after instruments, and how many copies of each there are.
///
/// Instruments of the raw format always carry their venue (`usdm.BTCUSDT`). Those of quote files
/// are plain symbols (`EURUSD`); where two files have the same symbol, the first one given keeps
/// the plain name and the others carry their venue (`oanda.EURUSD`).
#[derive(Clone, Debug)]
pub struct Naming {
    /// The resource of all files; `None`: `crypto` or `fx`, as the format has it.
    pub resource: Option<String>,
    /// Every quote file carries its venue.
    pub venue: bool,
    /// Instruments made of each one: 1 is the recorded one alone; copy 2 is named `NAME.2`.
    pub copies: u32,
    /// Each copy runs this much later than the one before.
    pub shift: Span,
}

impl Default for Naming {
    fn default() -> Self {
        Self { resource: None, venue: false, copies: 1, shift: Span::from_secs(1) }
    }
}

/// Why a set of files cannot be replayed.
#[derive(Debug)]
pub enum MergeError {
    /// A file could not be read.
    Tick(TickError),
    /// An instrument's name is no legal topic.
    Name(PathBuf, NameError),
    /// Two files are the same instrument of the same venue.
    Twice(PathBuf, TopicName),
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick(error) => error.fmt(f),
            Self::Name(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Twice(path, name) => {
                write!(f, "{}: another file is {name} already", path.display())
            }
        }
    }
}

impl std::error::Error for MergeError {}

impl From<TickError> for MergeError {
    fn from(error: TickError) -> Self {
        Self::Tick(error)
    }
}

struct Source {
    file: TickFile,
    /// What the file's clock shows when the replay begins.
    base_ns: u64,
    /// One name per copy.
    names: Vec<TopicName>,
    /// The tick after the one that was given out last, by the file's clock.
    head: Option<Reading>,
}

/// A recorded tick: what every copy of it shares.
struct Recorded {
    at: Span,
    source: usize,
    payload: Arc<[u8]>,
}

/// The merged ticks of several files. Each file is read once, whatever the number of copies: the
/// newest `shift x (copies - 1)` of the recording is kept and every copy is a cursor into it.
///
/// Files whose times are counted from different beginnings (1970, midnight) start together.
pub struct Merge {
    sources: Vec<Source>,
    /// The head of each file that is not at its end: (time, file).
    heads: BinaryHeap<Reverse<(Span, usize)>>,
    /// The recording from the slowest copy on.
    window: VecDeque<Recorded>,
    /// Ticks that have left the window.
    passed: u64,
    /// The next tick of each copy: (time, copy, place in the recording).
    cursors: BinaryHeap<Reverse<(Span, usize, u64)>>,
    copies: usize,
    shift: Span,
    failed: bool,
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("sources", &self.sources.len())
            .field("window", &self.window.len())
            .finish_non_exhaustive()
    }
}

impl Merge {
    /// Opens `paths` and reads the first tick of each.
    ///
    /// # Errors
    /// If a file cannot be read or named, or two files would be one topic.
    pub fn open<P: AsRef<Path>>(paths: &[P], naming: &Naming) -> Result<Self, MergeError> {
        let mut sources = Vec::new();
        let mut taken = HashSet::new();
        for path in paths {
            let path = path.as_ref();
            let mut file = TickFile::open(path)?;
            let names = names_of(&file, path, naming, &mut taken)?;
            let head = file.read()?;
            sources.push(Source { file, base_ns: 0, names, head });
        }
        for format in [Format::Raw, Format::Quotes] {
            let same = |source: &&mut Source| source.file.format() == format;
            let first = |source: &mut Source| source.head.as_ref().map(|head| head.at_ns);
            let base = sources.iter_mut().filter(same).filter_map(first).min().unwrap_or(0);
            sources.iter_mut().filter(same).for_each(|source| source.base_ns = base);
        }
        let mut merge = Self {
            sources,
            heads: BinaryHeap::new(),
            window: VecDeque::new(),
            passed: 0,
            cursors: BinaryHeap::new(),
            copies: naming.copies.max(1) as usize,
            shift: naming.shift,
            failed: false,
        };
        for index in 0..merge.sources.len() {
            merge.note_head(index);
        }
        merge.record_next()?;
        if let Some(first) = merge.window.front() {
            let cursor = |copy| Reverse((first.at + naming.shift.times(copy as u64), copy, 0));
            merge.cursors = (0..merge.copies).map(cursor).collect();
        }
        Ok(merge)
    }

    /// The topics that ticks will go to, in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = &TopicName> {
        self.sources.iter().flat_map(|source| &source.names)
    }

    fn note_head(&mut self, index: usize) {
        let source = &self.sources[index];
        if let Some(head) = &source.head {
            self.heads.push(Reverse((Span::from_nanos(head.at_ns - source.base_ns), index)));
        }
    }

    /// Moves the earliest head into the window.
    fn record_next(&mut self) -> Result<(), TickError> {
        let Some(Reverse((at, index))) = self.heads.pop() else { return Ok(()) };
        let source = &mut self.sources[index];
        let next = source.file.read()?;
        if let Some(Reading { payload, .. }) = std::mem::replace(&mut source.head, next) {
            self.window.push_back(Recorded { at, source: index, payload });
        }
        self.note_head(index);
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Tick>, TickError> {
        let Some(Reverse((at, copy, place))) = self.cursors.pop() else { return Ok(None) };
        let index = (place - self.passed) as usize;
        // The first copy is always the furthest: its next tick is read before any needs it.
        if copy == 0 && index + 1 == self.window.len() {
            self.record_next()?;
        }
        let recorded = &self.window[index];
        let name = self.sources[recorded.source].names[copy].clone();
        let tick = Tick { at, name, payload: Arc::clone(&recorded.payload) };
        if let Some(next) = self.window.get(index + 1) {
            let due = next.at + self.shift.times(copy as u64);
            self.cursors.push(Reverse((due, copy, place + 1)));
        }
        // Copies pass a place in their order, so nothing needs it after the last of them.
        if copy == self.copies - 1 {
            debug_assert_eq!(index, 0, "the last copy is the slowest");
            self.window.pop_front();
            self.passed += 1;
        }
        Ok(Some(tick))
    }
}

impl Iterator for Merge {
    type Item = Result<Tick, TickError>;

    /// The next tick in order of time; nothing more after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let stepped = self.step();
        self.failed = stepped.is_err();
        stepped.transpose()
    }
}

/// The topic of each copy of a file's instrument.
fn names_of(
    file: &TickFile,
    path: &Path,
    naming: &Naming,
    taken: &mut HashSet<TopicName>,
) -> Result<Vec<TopicName>, MergeError> {
    let resource = naming.resource.as_deref().unwrap_or_else(|| file.format().resource());
    let named = |subject: &str| {
        TopicName::new(resource, subject)
            .map_err(|error| MergeError::Name(path.to_path_buf(), error))
    };
    let instrument = file.instrument();
    let mut subject = instrument.with_venue();
    if file.format() == Format::Quotes
        && !naming.venue
        && !taken.contains(&named(&instrument.symbol)?)
    {
        subject.clone_from(&instrument.symbol);
    }
    let mut names = vec![named(&subject)?];
    for copy in 2..=naming.copies {
        names.push(named(&format!("{subject}.{copy}"))?);
    }
    for name in &names {
        if !taken.insert(name.clone()) {
            return Err(MergeError::Twice(path.to_path_buf(), name.clone()));
        }
    }
    Ok(names)
}
