//! `deal`: a dealing desk, as an example of conversations. A taker asks for a price, makers quote,
//! the taker accepts one quote, and both are told one trade number.
//!
//! Every line is a word and `key=value` pairs. From a taker: `ask id=ORDER pair=EURUSD side=buy
//! amount=1000000`, `accept id=ORDER quote=3`, `cancel id=ORDER`. From a maker: `make pair=EURUSD`,
//! `quote request=17 price=1.0831`, `leave`. To them: `asked id= request=`, `price id= quote=
//! price=`, `request request= pair= side= amount=`, `quoted request= quote=`, `done`, `over`,
//! `error`. Orders carry an id that the taker chose: a line that comes twice, also in another
//! session after the first was lost, does nothing twice and is answered as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::base::id::{Cid, Mid};
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};

/// Orders that are remembered; the oldest is forgotten first.
const ORDERS_MAX: usize = 10_000;
/// Quotes that an order may have.
const QUOTES_MAX: usize = 64;
/// Letters of a value.
const VALUE_MAX: usize = 64;

/// What is said to whom.
pub type Said<C> = Vec<(C, String)>;

/// How an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    /// Quotes may come.
    Asked,
    /// It was executed: the trade's number, and the quote.
    Done(u64, usize),
    /// The taker has taken it back.
    Cancelled,
}

#[derive(Clone, Debug)]
struct Quote<C> {
    maker: C,
    price: String,
}

#[derive(Clone, Debug)]
struct Order<C> {
    id: String,
    taker: C,
    pair: String,
    side: String,
    amount: u64,
    quotes: Vec<Quote<C>>,
    stand: Stand,
}

/// The desk: who makes prices, and all orders. `C` is a private channel.
///
/// ```
/// use ahm::resource::deal::Desk;
/// let (taker, maker) = (1, 2);
/// let mut desk = Desk::default();
/// desk.hear(maker, "make pair=EURUSD");
/// let asked = desk.hear(taker, "ask id=o1 pair=EURUSD side=buy amount=1000000");
/// assert_eq!(asked[1], (maker, "request request=1 pair=EURUSD side=buy amount=1000000".into()));
/// desk.hear(maker, "quote request=1 price=1.0831");
/// let done = desk.hear(taker, "accept id=o1 quote=1");
/// assert_eq!(done[0].0, taker);
/// assert!(done[0].1.starts_with("done id=o1 trade=1 ") && done[1].1.contains(" trade=1 "));
/// assert_eq!(desk.hear(taker, "accept id=o1 quote=1"), done[..1], "once, however often it comes");
/// ```
#[derive(Debug)]
pub struct Desk<C> {
    makers: BTreeMap<C, BTreeSet<String>>,
    /// By request number.
    orders: BTreeMap<u64, Order<C>>,
    by_id: BTreeMap<String, u64>,
    requests: u64,
    trades: u64,
}

impl<C> Default for Desk<C> {
    fn default() -> Self {
        let (makers, orders, by_id) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { makers, orders, by_id, requests: 0, trades: 0 }
    }
}

impl<C: Copy + Ord> Desk<C> {
    /// Somebody has said a line; what is to be said, and to whom, in order.
    pub fn hear(&mut self, from: C, line: &str) -> Said<C> {
        let outcome = Line::parse(line).and_then(|line| match line.word {
            "make" => self.make(from, &line),
            "leave" => Ok(self.leave(from)),
            "ask" => self.ask(from, &line),
            "quote" => self.quote(from, &line),
            "accept" => self.accept(from, &line),
            "cancel" => self.cancel(from, &line),
            other => Err(format!("no line begins with {other}")),
        });
        outcome.unwrap_or_else(|what| vec![(from, format!("error {what}"))])
    }

    /// The channel is over: no request goes there any more. Its orders stay, for whoever comes back
    /// with their ids.
    pub fn closed(&mut self, channel: C) {
        self.makers.remove(&channel);
    }

    /// Trades so far.
    pub const fn trades(&self) -> u64 {
        self.trades
    }

    fn make(&mut self, from: C, line: &Line<'_>) -> Result<Said<C>, String> {
        let pair = line.pair()?;
        self.makers.entry(from).or_default().insert(pair.clone());
        let mut said = vec![(from, format!("making pair={pair}"))];
        // What was asked before and has no end yet.
        let open = self.orders.iter().filter(|(_, order)| {
            order.pair == pair && order.stand == Stand::Asked && order.taker != from
        });
        said.extend(open.map(|(request, order)| (from, order.request(*request))));
        Ok(said)
    }

    fn leave(&mut self, from: C) -> Said<C> {
        self.makers.remove(&from);
        vec![(from, "left".into())]
    }

    fn ask(&mut self, from: C, line: &Line<'_>) -> Result<Said<C>, String> {
        let id = line.value("id")?;
        let pair = line.pair()?;
        let side = line.value("side")?;
        if side != "buy" && side != "sell" {
            return Err("side is buy or sell".into());
        }
        let amount: u64 = line.number("amount")?;
        if amount == 0 {
            return Err("amount is at least 1".into());
        }
        if let Some(&request) = self.by_id.get(id) {
            return self.ask_again(from, request, (&pair, side, amount));
        }
        self.requests += 1;
        let request = self.requests;
        if self.orders.len() == ORDERS_MAX
            && let Some((_, oldest)) = self.orders.pop_first()
        {
            self.by_id.remove(&oldest.id);
        }
        let (id, side) = (id.to_string(), side.to_string());
        let (quotes, stand) = (Vec::new(), Stand::Asked);
        let order =
            Order { id: id.clone(), taker: from, pair: pair.clone(), side, amount, quotes, stand };
        let mut said = vec![(from, format!("asked id={id} request={request}"))];
        let makers = self.makers.iter();
        let makers = makers.filter(|(maker, pairs)| **maker != from && pairs.contains(&pair));
        said.extend(makers.map(|(maker, _)| (*maker, order.request(request))));
        self.by_id.insert(id, request);
        self.orders.insert(request, order);
        Ok(said)
    }

    /// The same order again: from another session maybe, which goes on where the first was.
    fn ask_again(
        &mut self,
        from: C,
        request: u64,
        (pair, side, amount): (&str, &str, u64),
    ) -> Result<Said<C>, String> {
        let order = self.orders.get_mut(&request).ok_or("the order was forgotten")?;
        if (order.pair.as_str(), order.side.as_str(), order.amount) != (pair, side, amount) {
            return Err(format!("id={} is another order's", order.id));
        }
        order.taker = from;
        let mut said = vec![(from, format!("asked id={} request={request}", order.id))];
        said.extend((0..order.quotes.len()).map(|quote| (from, order.price(quote))));
        said.extend(order.end().map(|end| (from, end)));
        Ok(said)
    }

    fn quote(&mut self, from: C, line: &Line<'_>) -> Result<Said<C>, String> {
        let request: u64 = line.number("request")?;
        let price = line.value("price")?;
        let digits = price.bytes().filter(u8::is_ascii_digit).count();
        let dots = price.bytes().filter(|byte| *byte == b'.').count();
        if digits == 0 || dots > 1 || digits + dots != price.len() || price.len() > 16 {
            return Err("price is a decimal number".into());
        }
        let order = self.orders.get_mut(&request).ok_or("no such request")?;
        if order.taker == from {
            return Err("nobody trades with himself".into());
        }
        match order.stand {
            Stand::Asked if order.quotes.len() < QUOTES_MAX => {
                order.quotes.push(Quote { maker: from, price: price.to_string() });
                let quote = order.quotes.len();
                let to_taker = (order.taker, order.price(quote - 1));
                Ok(vec![(from, format!("quoted request={request} quote={quote}")), to_taker])
            }
            _ => Ok(vec![(from, format!("over request={request}"))]),
        }
    }

    fn accept(&mut self, from: C, line: &Line<'_>) -> Result<Said<C>, String> {
        let order = order_of(&self.by_id, &mut self.orders, line)?;
        order.1.taker = from;
        let (request, order) = order;
        let wanted: usize = line.number("quote")?;
        match order.stand {
            Stand::Done(..) | Stand::Cancelled => {
                Ok(order.end().into_iter().map(|end| (from, end)).collect())
            }
            Stand::Asked => {
                let quote = wanted.checked_sub(1).filter(|at| *at < order.quotes.len());
                let quote = quote.ok_or("no such quote")?;
                self.trades += 1;
                order.stand = Stand::Done(self.trades, quote);
                let winner = order.quotes[quote].maker;
                let mut said: Said<C> = order.end().into_iter().map(|end| (from, end)).collect();
                said.extend(order.done_for_maker(request).map(|done| (winner, done)));
                let others: BTreeSet<C> =
                    order.quotes.iter().map(|quote| quote.maker).filter(|m| *m != winner).collect();
                said.extend(
                    others.into_iter().map(|maker| (maker, format!("over request={request}"))),
                );
                Ok(said)
            }
        }
    }

    fn cancel(&mut self, from: C, line: &Line<'_>) -> Result<Said<C>, String> {
        let (request, order) = order_of(&self.by_id, &mut self.orders, line)?;
        order.taker = from;
        let mut said = Vec::new();
        if order.stand == Stand::Asked {
            order.stand = Stand::Cancelled;
            let makers: BTreeSet<C> = order.quotes.iter().map(|quote| quote.maker).collect();
            said.extend(makers.into_iter().map(|maker| (maker, format!("over request={request}"))));
        }
        said.extend(order.end().map(|end| (from, end)));
        Ok(said)
    }
}

/// The desk as a resource: every channel is a conversation with it, whatever its subject.
#[derive(Debug, Default)]
pub struct Deal {
    desk: Mutex<Desk<(Mid, Cid)>>,
}

impl Resource for Deal {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let own = (message.consumer.session, message.consumer.cid);
        let Ok(line) = std::str::from_utf8(message.payload) else {
            return actions.reply("error the line is no text");
        };
        // What panicked here before has left no order half changed that another would miss.
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        for (to, said) in desk.hear(own, line) {
            match to == own {
                true => actions.reply(said),
                false => actions.tell(to.0, to.1, said),
            }
        }
    }
}

fn order_of<'o, C>(
    by_id: &BTreeMap<String, u64>,
    orders: &'o mut BTreeMap<u64, Order<C>>,
    line: &Line<'_>,
) -> Result<(u64, &'o mut Order<C>), String> {
    let request = *by_id.get(line.value("id")?).ok_or("no such order")?;
    let order = orders.get_mut(&request).ok_or("the order was forgotten")?;
    Ok((request, order))
}

impl<C> Order<C> {
    fn request(&self, request: u64) -> String {
        let Self { pair, side, amount, .. } = self;
        format!("request request={request} pair={pair} side={side} amount={amount}")
    }

    fn price(&self, quote: usize) -> String {
        let price = &self.quotes[quote].price;
        format!("price id={} quote={} price={price}", self.id, quote + 1)
    }

    /// What the taker is told of the order's end, if it has one.
    fn end(&self) -> Option<String> {
        match self.stand {
            Stand::Asked => None,
            Stand::Cancelled => Some(format!("over id={}", self.id)),
            Stand::Done(trade, quote) => {
                let mut text = format!("done id={} trade={trade}", self.id);
                self.put_terms(&mut text, quote);
                Some(text)
            }
        }
    }

    fn done_for_maker(&self, request: u64) -> Option<String> {
        let Stand::Done(trade, quote) = self.stand else { return None };
        let mut text = format!("done request={request} trade={trade}");
        self.put_terms(&mut text, quote);
        Some(text)
    }

    fn put_terms(&self, text: &mut String, quote: usize) {
        let Self { pair, side, amount, quotes, .. } = self;
        let price = &quotes[quote].price;
        let _ = write!(text, " pair={pair} side={side} amount={amount} price={price}");
    }
}

/// A word and its values.
struct Line<'l> {
    word: &'l str,
    values: Vec<(&'l str, &'l str)>,
}

impl<'l> Line<'l> {
    fn parse(line: &'l str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().ok_or("the line is empty")?;
        let values =
            words.map(|text| text.split_once('=').ok_or_else(|| format!("{text} is no key=value")));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        if values.len() > 8 || values.iter().any(|(_, value)| value.len() > VALUE_MAX) {
            return Err("the line is too long".into());
        }
        Ok(Self { word, values })
    }

    fn value(&self, key: &str) -> Result<&'l str, String> {
        let found = self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        found.filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} is missing"))
    }

    fn number<N: std::str::FromStr>(&self, key: &str) -> Result<N, String> {
        self.value(key)?.parse().map_err(|_| format!("{key} is a whole number"))
    }

    fn pair(&self) -> Result<String, String> {
        let pair = self.value("pair")?;
        let fits = pair.len() == 6 && pair.bytes().all(|byte| byte.is_ascii_uppercase());
        fits.then(|| pair.to_string()).ok_or_else(|| "pair is six letters, like EURUSD".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKER: u8 = 1;
    const MAKER: u8 = 2;
    const OTHER: u8 = 3;

    fn asked() -> Desk<u8> {
        let mut desk = Desk::default();
        desk.hear(MAKER, "make pair=EURUSD");
        desk.hear(OTHER, "make pair=EURUSD");
        desk.hear(TAKER, "ask id=o1 pair=EURUSD side=buy amount=5");
        desk
    }

    fn text(said: &[(u8, String)], to: u8) -> Vec<&str> {
        said.iter().filter(|(who, _)| *who == to).map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn one_trade_is_told_to_both_and_the_others_learn_that_it_is_over() {
        let mut desk = asked();
        desk.hear(OTHER, "quote request=1 price=1.10");
        let said = desk.hear(MAKER, "quote request=1 price=1.09");
        assert_eq!(text(&said, TAKER), ["price id=o1 quote=2 price=1.09"]);
        let said = desk.hear(TAKER, "accept id=o1 quote=2");
        let terms = "trade=1 pair=EURUSD side=buy amount=5 price=1.09";
        assert_eq!(text(&said, TAKER), [format!("done id=o1 {terms}")]);
        assert_eq!(text(&said, MAKER), [format!("done request=1 {terms}")]);
        assert_eq!(text(&said, OTHER), ["over request=1"]);
        assert_eq!(text(&desk.hear(OTHER, "quote request=1 price=1.0"), OTHER), ["over request=1"]);
    }

    #[test]
    fn an_order_that_comes_again_in_another_session_is_the_same() {
        let mut desk = asked();
        desk.hear(MAKER, "quote request=1 price=1.09");
        desk.hear(TAKER, "accept id=o1 quote=1");
        desk.closed(TAKER);
        // The page did not see the end, and asks again from a new channel.
        let said = desk.hear(9, "ask id=o1 pair=EURUSD side=buy amount=5");
        assert_eq!(said.len(), 3);
        assert!(said[2].1.starts_with("done id=o1 trade=1 "), "{said:?}");
        let said = desk.hear(9, "accept id=o1 quote=1");
        assert!(said.len() == 1 && said[0].1.contains(" trade=1 "), "{said:?}");
        assert_eq!(desk.trades(), 1);
        let said = desk.hear(9, "ask id=o1 pair=EURUSD side=sell amount=5");
        assert_eq!(said[0].1, "error id=o1 is another order's");
    }

    #[test]
    fn a_cancelled_order_is_over_and_late_makers_see_what_is_open() {
        let mut desk = asked();
        let said = desk.hear(8, "make pair=EURUSD");
        assert_eq!(said[1].1, "request request=1 pair=EURUSD side=buy amount=5");
        desk.hear(8, "quote request=1 price=2");
        let said = desk.hear(TAKER, "cancel id=o1");
        assert_eq!(said, [(8, "over request=1".into()), (TAKER, "over id=o1".into())]);
        let said = desk.hear(TAKER, "accept id=o1 quote=1");
        assert_eq!(said, [(TAKER, "over id=o1".into())]);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let mut desk = asked();
        for (line, what) in [
            ("", "the line is empty"),
            ("dance", "no line begins with dance"),
            ("ask pair=EURUSD", "id is missing"),
            ("ask id=x pair=EUR side=buy amount=1", "pair is six letters, like EURUSD"),
            ("ask id=x pair=EURUSD side=up amount=1", "side is buy or sell"),
            ("ask id=x pair=EURUSD side=buy amount=-1", "amount is a whole number"),
            ("ask id=x pair=EURUSD side=buy amount=0", "amount is at least 1"),
            ("quote request=7 price=1", "no such request"),
            ("quote request=1 price=1.2.3", "price is a decimal number"),
            ("quote request=1 price=1", "nobody trades with himself"),
            ("accept id=nobody quote=1", "no such order"),
            ("accept id=o1 quote=4", "no such quote"),
            ("make", "pair is missing"),
            ("make pair", "pair is no key=value"),
        ] {
            assert_eq!(desk.hear(TAKER, line), [(TAKER, format!("error {what}"))], "{line}");
        }
    }

    #[test]
    fn the_oldest_order_is_forgotten_first() {
        let mut desk = Desk::default();
        for at in 0..=ORDERS_MAX {
            desk.hear(TAKER, &format!("ask id=o{at} pair=EURUSD side=buy amount=1"));
        }
        assert_eq!(desk.orders.len(), ORDERS_MAX);
        assert_eq!(desk.hear(TAKER, "cancel id=o0")[0].1, "error no such order");
        assert_eq!(desk.hear(TAKER, "cancel id=o1")[0].1, "over id=o1");
    }
}
