//! Were numbered sends taken once and in order? A reader of the board that nobody disturbs knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use ahm::base::time::Span;
use ahm::client::event::{Event, Fate, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server;
use ahm::resource::post::{self, Publisher};
use ahm::wire::command::OpenRequest;

use crate::client::{Account, Sends, parse_send};

/// What the last message on the board says.
const LAST: &str = "the end";

/// What reached the board: for each sender the numbers of its sends, in order.
pub type Board = HashMap<usize, Vec<u64>>;

/// Reads the board at `address` until the last message; `open` hears when it has begun.
pub fn read(address: SocketAddr, open: &Sender<()>, until: Instant) -> Result<Board, String> {
    let url = Server::parse(&format!("http://{address}"), "/ahm/").map_err(|e| e.to_string())?;
    let mut link = Link::new(url, Settings::default(), 0).map_err(|e| e.to_string())?;
    let now = link.now();
    let topic = parse_topic("board/audit")?;
    let request = OpenRequest::new(topic);
    link.agent().subscribe(request, now).map_err(|error| error.to_string())?;
    let mut board = Board::new();
    while Instant::now() < until {
        while let Some(event) = link.agent().poll_event() {
            match event {
                Event::Opened { .. } => drop(open.send(())),
                Event::Message { payload, .. } if payload == LAST.as_bytes() => {
                    link.close(Span::from_millis(500)).map_err(|error| error.to_string())?;
                    return Ok(board);
                }
                Event::Message { payload, .. } => {
                    let (sender, number) = parse_send(&payload).ok_or("what nobody sent")?;
                    board.entry(sender).or_default().push(number);
                }
                Event::Gap { .. } => return Err("the reader of the board has a gap".into()),
                _ => {}
            }
        }
        link.turn(Some(Span::from_millis(100))).map_err(|error| error.to_string())?;
    }
    Err("the last message did not reach the reader of the board".into())
}

/// Puts the last message on the board.
pub fn end(private: SocketAddr) -> Result<(), String> {
    let url = Server::parse(&format!("http://{private}"), "/").map_err(|e| e.to_string())?;
    let mut publisher = Publisher::new(url, post::Settings::default(), 0);
    let topic = parse_topic("board/audit")?;
    let answer = publisher.publish(&topic, LAST.as_bytes(), None, false);
    answer.map(|_| ()).map_err(|error| error.to_string())
}

/// What became of numbered sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Put on their way.
    pub sends: u64,
    /// Of those, the client was told that they were taken.
    pub taken: u64,
    /// It was told that nobody knows: their session has died.
    pub unknown: u64,
    /// It was told that they were not taken.
    pub not_taken: u64,
    /// It was told nothing.
    pub open: u64,
    /// Told taken, and never seen.
    pub lost: u64,
    /// Seen twice.
    pub repeated: u64,
    /// Seen after a later one.
    pub out_of_order: u64,
    /// Seen, though told not taken; or never sent.
    pub wrong: u64,
}

impl Taken {
    /// Compares what the sender was told with what was seen.
    pub fn compare(&mut self, sends: &Sends, seen: &[u64], may_miss: bool) {
        let mut times = vec![0_u64; sends.fates.len()];
        let mut newest = None;
        for number in seen {
            match times.get_mut(*number as usize) {
                None => self.wrong += 1,
                Some(times) => *times += 1,
            }
            self.out_of_order += u64::from(newest.is_some_and(|newest| *number < newest));
            newest = newest.max(Some(*number));
        }
        self.sends += sends.fates.len() as u64;
        for (fate, times) in sends.fates.iter().zip(times) {
            self.repeated += times.saturating_sub(1);
            match fate {
                None => self.open += 1,
                Some(Fate::Taken) => {
                    self.taken += 1;
                    self.lost += u64::from(times == 0 && !may_miss);
                }
                Some(Fate::Unknown) => self.unknown += 1,
                Some(Fate::Skipped | Fate::Refused(_)) => {
                    self.not_taken += 1;
                    self.wrong += times;
                }
            }
        }
    }

    /// Compares all sends of `accounts`: with the board, and with what the echo gave back.
    pub fn of(accounts: &[Account], board: &Board) -> Self {
        let mut taken = Self::default();
        for account in accounts {
            let on_board = board.get(&account.number).map_or(&[][..], Vec::as_slice);
            taken.compare(&account.board, on_board, false);
            taken.compare(&account.echo, &account.echo.seen, account.echo.gap);
        }
        taken
    }

    /// Whether each was taken once, in order, and the sender knows.
    pub fn holds(&self) -> bool {
        self.open + self.lost + self.repeated + self.out_of_order + self.wrong == 0
    }
}

/// The comparison finds what it is there to find.
pub fn check_the_audit() {
    let fates = vec![Some(Fate::Taken), Some(Fate::Unknown), Some(Fate::Skipped)];
    let sends = Sends { fates, ..Sends::default() };
    let holds = |seen: &[u64]| {
        let mut taken = Taken::default();
        taken.compare(&sends, seen, false);
        taken.holds()
    };
    assert!(holds(&[0]) && holds(&[0, 1]));
    for seen in [&[][..], &[1], &[0, 0], &[1, 0], &[0, 2], &[0, 7], &[0, 1, 1]] {
        assert!(!holds(seen), "{seen:?}");
    }
}
