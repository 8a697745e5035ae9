//! Publishing: from a publisher's request to the topic's home, and back with the offsets.

use crate::auth::passes::Right;
use crate::base::id::{Epoch, Offset};
use crate::base::name::TopicName;
use crate::base::reason::ErrorCode;
use crate::http::request::{Head, Method};
use crate::proto::answer::{Answer, Content, error_members};
use crate::proto::exchange::Gather;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Parcel, Publication, Published, ReplyTo};
use crate::proto::private::Caller;
use crate::proto::routes::not_allowed;
use crate::proto::run::{Mark, Place};
use crate::proto::topic::{FORMER_EPOCHS_MAX, Numbering, Role};
use crate::wire::position::Position;
use crate::wire::publish::{self, PublishTarget};

impl Hub {
    /// Serves `/publish` of the private listener.
    pub(crate) fn serve_publisher(
        &mut self,
        reply: ReplyTo,
        caller: Caller,
        head: &Head<'_>,
        body: &[u8],
    ) {
        if head.method != Method::Post {
            return self.give(reply, not_allowed("POST"));
        }
        if self.pressed {
            let detail = "queues between the server's threads are full";
            return self.give(reply, Answer::error(ErrorCode::Busy, detail));
        }
        match head.target.path.strip_prefix("/publish/") {
            Some(topic) => self.publish_one(reply, caller, (topic, head.target.query), body),
            None => self.publish_lines(reply, caller, head.target.query, body),
        }
    }

    fn publish_one(
        &mut self,
        reply: ReplyTo,
        caller: Caller,
        (topic, query): (&str, &str),
        body: &[u8],
    ) {
        let target = match PublishTarget::parse(topic, query) {
            Ok(target) => target,
            Err(error) => return self.give(reply, Answer::error(error.code, &error.detail)),
        };
        let PublishTarget { name, position, snapshot } = target;
        if let Err(refusal) = self.check(caller, Right::Publish(name.as_str())) {
            return self.give(reply, refusal);
        }
        let home = self.home_of(&name);
        if home == self.shard {
            let outcome = self.publish(&name, position, snapshot, body);
            return self.give(reply, outcome.into_answer(false));
        }
        if let Some(connection) = self.conns.get_mut(reply.conn) {
            connection.exchanges().gather(reply.exchange, Gather::Single, 1);
        }
        let item = Publication { line: 0, name, position, snapshot, payload: body.to_vec() };
        self.post(home, Parcel::Publish(Some(reply), vec![item]));
    }

    fn publish_lines(&mut self, reply: ReplyTo, caller: Caller, query: &str, body: &[u8]) {
        let resource = match publish::batch_resource(query) {
            Ok(resource) => resource,
            Err(error) => return self.give(reply, Answer::error(error.code, &error.detail)),
        };
        let lines: Vec<_> = publish::batch_lines(body, resource.as_deref()).collect();
        if lines.is_empty() {
            return self.give(reply, Answer::ok(",\"taken\":0,\"lines\":[]"));
        }
        if let Some(connection) = self.conns.get_mut(reply.conn) {
            connection.exchanges().gather(reply.exchange, Gather::Outcomes, lines.len());
        }
        let mut elsewhere: Vec<Vec<Publication>> = vec![Vec::new(); usize::from(self.shards)];
        for (line, item) in (0..).zip(lines) {
            let part = ReplyTo { part: Some(line), ..reply };
            match item {
                Err(error) => {
                    let members = error_members(error.code, &error.detail, true);
                    self.give(part, Answer::line(error.code.status(), &members));
                }
                Ok((name, payload)) => {
                    if let Err(refusal) = self.check(caller, Right::Publish(name.as_str())) {
                        self.give(part, refusal.into_bare());
                        continue;
                    }
                    let home = self.home_of(&name);
                    if home == self.shard {
                        let outcome = self.publish(&name, None, false, payload);
                        self.give(part, outcome.into_answer(true));
                    } else {
                        let payload = payload.to_vec();
                        let (position, snapshot) = (None, false);
                        let item = Publication { line, name, position, snapshot, payload };
                        elsewhere[home.index()].push(item);
                    }
                }
            }
        }
        for (shard, items) in (0..).zip(elsewhere) {
            if !items.is_empty() {
                self.post(crate::base::id::ShardId(shard), Parcel::Publish(Some(reply), items));
            }
        }
    }

    /// At the home: publishes what another shard or thread has sent.
    pub(crate) fn take_publish(&mut self, reply: Option<ReplyTo>, items: Vec<Publication>) {
        let mut outcomes = Vec::new();
        for item in items {
            let outcome = self.publish(&item.name, item.position, item.snapshot, &item.payload);
            match reply {
                Some(_) => outcomes.push((item.line, outcome)),
                None => {
                    if let Published::Refused(code, detail, _) = outcome {
                        log::warn!("{}: not published: {code}: {detail}", item.name);
                    }
                }
            }
        }
        if let Some(reply) = reply {
            self.post(reply.shard, Parcel::Published(reply, outcomes));
        }
    }

    /// At the connection's shard: what became of what was published elsewhere.
    pub(crate) fn take_published(&mut self, reply: ReplyTo, outcomes: Vec<(u32, Published)>) {
        let single = self.conns.get(reply.conn).is_some_and(|connection| {
            connection.exchanges.as_ref().is_some_and(|e| e.is_single(reply.exchange))
        });
        for (line, outcome) in outcomes {
            let part = ReplyTo { part: Some(line), ..reply };
            self.give(part, outcome.into_answer(!single));
        }
    }

    /// Publishes one message at its home.
    pub(crate) fn publish(
        &mut self,
        name: &TopicName,
        position: Option<Position>,
        snapshot: bool,
        payload: &[u8],
    ) -> Published {
        let refused = |code, detail: &str| Published::Refused(code, detail.to_string(), None);
        if payload.len() > self.settings.payload_bytes_max {
            return refused(ErrorCode::TooLarge, "the payload is larger than allowed");
        }
        let options = match self.directory.resource(name.resource()) {
            Some(resource) => resource.options(name.subject()),
            None => crate::proto::resource::TopicOptions::default(),
        };
        let Some(slot) = self.home_topic(name, options) else {
            return refused(ErrorCode::TooMany, "too many topics");
        };
        self.publish_at(slot, position, snapshot, payload)
    }

    /// Publishes one message on a topic of this home.
    pub(crate) fn publish_at(
        &mut self,
        slot: u32,
        position: Option<Position>,
        snapshot: bool,
        payload: &[u8],
    ) -> Published {
        let refused = |code, detail: &str| Published::Refused(code, detail.to_string(), None);
        let ended = self.topics.slots.at(slot).is_some_and(|topic| topic.log.ended());
        if ended {
            return refused(ErrorCode::NoResource, "this topic has ended");
        }
        if let Err(outcome) = self.number(slot, position) {
            return outcome;
        }
        self.stats.published += 1;
        let (epoch, offset) = self.add_message(slot, snapshot, payload);
        Published::Taken(epoch, offset)
    }

    /// Adds a message to a topic of this home, to be sealed at the end of the turn.
    pub(crate) fn add_message(
        &mut self,
        slot: u32,
        snapshot: bool,
        payload: &[u8],
    ) -> (Epoch, Offset) {
        if self.topics.slots.at(slot).is_some_and(|topic| topic.builder.is_full()) {
            self.seal(slot);
        }
        let Some(topic) = self.topics.slots.at_mut(slot) else {
            return (Epoch(0), Offset(0));
        };
        let end = topic.log.end();
        let (epoch, offset) = (end.epoch, Offset(end.offset.0 + topic.builder.len()));
        topic.builder.add(topic.number, offset, snapshot, payload);
        self.touch(slot);
        (epoch, offset)
    }

    /// Settles who numbers the next message, and writes the marks that its number demands.
    pub(crate) fn number(
        &mut self,
        slot: u32,
        position: Option<Position>,
    ) -> Result<(), Published> {
        let Some(topic) = self.topics.slots.at_mut(slot) else { return Ok(()) };
        let end = *topic.log.end();
        let next = Offset(end.offset.0 + topic.builder.len());
        let last = Position { ep: end.epoch, n: Offset(next.0 - 1) };
        let Role::Home { numbering, .. } = &mut topic.role else { return Ok(()) };
        let conflict = |detail: &str| {
            Err(Published::Refused(ErrorCode::Conflict, detail.to_string(), Some(last)))
        };
        let Some(wanted) = position else {
            return match numbering {
                Numbering::Publisher { .. } => conflict("a publisher numbers this topic"),
                Numbering::Unset | Numbering::Local => {
                    *numbering = Numbering::Local;
                    Ok(())
                }
            };
        };
        match numbering {
            Numbering::Local => conflict("the server numbers this topic"),
            Numbering::Unset => {
                *numbering = Numbering::Publisher { former: Vec::new() };
                let before = Offset(wanted.n.0 - 1);
                self.begin_epoch(slot, wanted.ep, before);
                Ok(())
            }
            Numbering::Publisher { .. } if wanted.ep == end.epoch => {
                if wanted.n < next {
                    return Err(Published::Dup(wanted.ep, wanted.n));
                }
                if wanted.n > next {
                    let (after, missing) = (Offset(wanted.n.0 - 1), wanted.n.0 - next.0);
                    self.put_mark(slot, |end| {
                        (Place { offset: wanted.n, ..*end }, Mark::Gap { after, missing })
                    });
                }
                Ok(())
            }
            Numbering::Publisher { former } if former.contains(&wanted.ep) => {
                conflict("this epoch is over")
            }
            Numbering::Publisher { former } => {
                if former.len() == FORMER_EPOCHS_MAX {
                    former.remove(0);
                }
                former.push(end.epoch);
                self.begin_epoch(slot, wanted.ep, Offset(wanted.n.0 - 1));
                Ok(())
            }
        }
    }

    fn begin_epoch(&mut self, slot: u32, epoch: Epoch, before: Offset) {
        self.put_mark(slot, |end| {
            (Place { place: end.place, epoch, offset: before.next() }, Mark::Epoch(before))
        });
    }
}

impl Published {
    /// The answer for this message alone, or for its line of a batch.
    pub(crate) fn into_answer(self, line: bool) -> Answer {
        let ok = if line { "" } else { "\"ok\":true," };
        let place = |ep: Epoch, n: Offset| format!("\"ep\":\"{ep}\",\"n\":{n}");
        match self {
            Self::Taken(ep, n) => Answer::line(200, &format!("{ok}{}", place(ep, n))),
            Self::Dup(ep, n) => Answer::line(200, &format!("{ok}{},\"dup\":true", place(ep, n))),
            Self::Refused(code, detail, last) => {
                let mut members = error_members(code, &detail, line);
                if let Some(last) = last {
                    members.push(',');
                    members.push_str(&place(last.ep, last.n));
                }
                let mut answer = Answer::line(code.status(), &members);
                answer.field = Answer::error(code, "").field;
                answer
            }
        }
    }
}

impl Answer {
    /// The same as one line of a batch, where `ok` is left out.
    fn into_bare(mut self) -> Self {
        if let Content::Json(json) = &mut self.content
            && let Some(rest) = json.strip_prefix("{\"ok\":false,")
        {
            *json = format!("{{{rest}");
        }
        self
    }

    /// An answer of these members of a JSON object.
    pub(crate) fn line(status: u16, members: &str) -> Self {
        Self { status, content: Content::Json(format!("{{{members}}}")), field: None }
    }
}
