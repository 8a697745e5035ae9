//! `/control/` on the private listener: a web server makes sessions for those whom it knows, ends
//! them, and asks for them.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::auth::access::Asking;
use crate::auth::identity::{Identity, Means};
use crate::base::id::{ConnKey, Key, Mid, ShardId};
use crate::base::reason::ErrorCode;
use crate::http::request::{Head, Method};
use crate::proto::answer::{Answer, Content, quote};
use crate::proto::connection::Door;
use crate::proto::exchange::Gather;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Parcel, ReplyTo};
use crate::proto::routes::not_allowed;
use crate::proto::session::encode_key;
use crate::seal::key::Algorithm;
use crate::wire::control::Control;

/// Sessions that one shard tells of in one answer.
const TOLD_MAX: usize = 10_000;

/// What a web server wants of the shard that gets this.
#[derive(Debug)]
pub enum ControlOrder {
    /// A session for this user, sealed where that is wanted.
    Begin(Arc<Identity>, Option<Algorithm>),
    /// The end of that session.
    End(Mid),
    /// A list of that user's sessions, or of all; true: they end.
    List(Option<String>, bool),
}

impl Hub {
    pub(crate) fn serve_control(&mut self, reply: ReplyTo, head: &Head<'_>, body: &[u8]) {
        let path = head.target.path;
        let methods = match path {
            "/control/session" => "POST, DELETE",
            "/control/logout" => "POST",
            "/control/sessions" => "GET",
            _ => {
                let detail = "here are POST /control/session, DELETE /control/session?mid=, \
                     POST /control/logout and GET /control/sessions?user=";
                return self.give(reply, Answer::error(ErrorCode::NoCommand, detail));
            }
        };
        let control = match Control::read(head.target.query, body) {
            Ok(control) => control,
            Err(error) => return self.give(reply, Answer::error(error.code, &error.detail)),
        };
        match (path, head.method) {
            ("/control/session", Method::Post) => self.order_session(reply, &control),
            ("/control/session", Method::Delete) | ("/control/logout", Method::Post) => {
                match (control.mid, control.user) {
                    (Some(mid), None) => self.order_end(reply, mid),
                    (None, Some(user)) => self.order_list(reply, Some(user), true),
                    _ => {
                        let detail = "give `mid`, or `user` for all sessions of a user";
                        self.give(reply, Answer::error(ErrorCode::BadRequest, detail));
                    }
                }
            }
            ("/control/sessions", Method::Get) => self.order_list(reply, control.user, false),
            _ => self.give(reply, not_allowed(methods)),
        }
    }

    /// A session is made on any shard, each as likely as the others. The connection's own would
    /// not do: a web server keeps a few, so all of its clients would come to the few shards that
    /// these are on. A client's connections walk to the session's shard wherever that is.
    fn order_session(&mut self, reply: ReplyTo, control: &Control) {
        let identity = match self.new_identity(control) {
            Ok(identity) => Arc::new(identity),
            Err(answer) => return self.give(reply, answer),
        };
        if let Some(refusal) = self.refuse_resource(reply.conn, control, &identity) {
            return self.give(reply, refusal);
        }
        let connection = self.conns.get(reply.conn);
        let hidden = connection.is_some_and(|connection| {
            connection.secured.is_some()
                || connection.door == Door::Local
                || connection.address().ip().is_loopback()
        });
        let seal = control.seal.as_deref().map(|word| self.check_seal(hidden, word)).transpose();
        let seal = match seal {
            Ok(seal) => seal,
            Err(refusal) => return self.give(reply, refusal),
        };
        let shard = ShardId(self.random.below(u64::from(self.shards)) as u8);
        let order = ControlOrder::Begin(identity, seal);
        self.post(shard, Parcel::Control(reply, Box::new(order)));
    }

    fn new_identity(&self, control: &Control) -> Result<Identity, Answer> {
        let bad = |detail: &str| Answer::error(ErrorCode::BadRequest, detail);
        let user = control.user.clone().ok_or_else(|| bad("`user` is needed"))?;
        let identity =
            Identity::new(user, Means::Control).ok_or_else(|| bad("`user` is no name"))?;
        let now = self.unix_micros() / 1_000_000;
        let expires = control.expires_at(now);
        let expires = expires.map_err(|error| Answer::error(error.code, &error.detail))?;
        let (groups, rights) = (control.groups.clone(), control.rights.clone());
        Ok(Identity { groups, rights, expires, ..identity })
    }

    /// What is answered where the user whom a web server names may not open the resource that is
    /// wanted. How the client will come is not known: that TLS or a seal protects it is taken for
    /// granted here, and judged when a channel is opened.
    fn refuse_resource(
        &mut self,
        conn: ConnKey,
        control: &Control,
        identity: &Arc<Identity>,
    ) -> Option<Answer> {
        let resource = control.resource.as_deref()?;
        let own = self.conns.get(conn).map(|connection| connection.address().ip());
        let address = control.address.or(own)?;
        let identity = Some(Arc::clone(identity));
        let asking = Asking { identity, address, tls: true, seal: true };
        let (code, detail) = self.may_open_any(&asking, resource).err()?;
        Some(Answer::error(code, &detail))
    }

    fn order_end(&mut self, reply: ReplyTo, mid: Mid) {
        if mid.shard().index() >= usize::from(self.shards) {
            return self.give(reply, no_session());
        }
        self.post(mid.shard(), Parcel::Control(reply, Box::new(ControlOrder::End(mid))));
    }

    fn order_list(&mut self, reply: ReplyTo, user: Option<String>, end: bool) {
        let Some(connection) = self.conns.get_mut(reply.conn) else { return };
        let gather = if end { Gather::Ended } else { Gather::Sessions };
        connection.exchanges().gather(reply.exchange, gather, usize::from(self.shards));
        for index in 0..self.shards {
            let part = ReplyTo { part: Some(u32::from(index)), ..reply };
            let order = ControlOrder::List(user.clone(), end);
            self.post(ShardId(index), Parcel::Control(part, Box::new(order)));
        }
    }

    /// Does what a web server wants of this shard.
    pub(crate) fn take_control(&mut self, reply: ReplyTo, order: ControlOrder) {
        let answer = match order {
            ControlOrder::Begin(identity, seal) => self.begin_for(identity, seal),
            ControlOrder::End(mid) => self.end_for(mid),
            ControlOrder::List(user, end) => self.list_sessions(user.as_deref(), end),
        };
        self.give(reply, answer);
    }

    fn begin_for(&mut self, identity: Arc<Identity>, seal: Option<Algorithm>) -> Answer {
        if let Some(refusal) = self.refuse_while_leaving() {
            return refusal;
        }
        let session = match self.new_session(None, Some(Arc::clone(&identity))) {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let members = match seal {
            Some(algorithm) => self.seal_session(session, algorithm),
            None => self.session_members(session),
        };
        let Some(members) = members else {
            return Answer::error(ErrorCode::Busy, "try again");
        };
        self.stats.private.sessions += 1;
        log::debug!("a session was made for {:?}", identity.user);
        let user = quote(&identity.user);
        let expires = identity.expires.map(|at| format!(",\"expires\":{at}")).unwrap_or_default();
        Answer { status: 201, ..Answer::ok(&format!("{members},\"user\":{user}{expires}")) }
    }

    /// What the answer that makes a session says of it: `scs`, `mid` and `k`.
    pub(crate) fn session_members(&self, session: Key) -> Option<String> {
        let (mid, session) = (self.mid_of(session)?, self.sessions.get(session)?);
        let mut key = [0; 22];
        encode_key(&session.key, &mut key);
        let key = std::str::from_utf8(&key).ok()?;
        let scs = quote(&self.settings.scs);
        Some(format!(",\"scs\":{scs},\"mid\":\"{mid}\",\"k\":\"{key}\""))
    }

    fn end_for(&mut self, mid: Mid) -> Answer {
        if self.sessions.get(mid.key()).is_none() {
            return no_session();
        }
        self.end_session(mid.key());
        self.stats.private.ended += 1;
        Answer::ok(",\"ended\":1")
    }

    fn list_sessions(&mut self, user: Option<&str>, end: bool) -> Answer {
        let mut list = String::new();
        let mut meant = Vec::new();
        for key in self.sessions.keys() {
            let Some(session) = self.sessions.get(key) else { continue };
            let identity = session.identity.as_deref();
            let name = identity.map(|identity| identity.user.as_str());
            if user.is_some_and(|user| name != Some(user)) {
                continue;
            }
            meant.push(key);
            let Some(mid) = self.mid_of(key).filter(|_| meant.len() <= TOLD_MAX) else { continue };
            let documents = session.document_slots().count();
            let comma = if list.is_empty() { "" } else { "," };
            let name = name.map_or_else(|| "null".into(), quote);
            // Writing to a string cannot fail.
            let _ = write!(list, "{comma}{{\"mid\":\"{mid}\",\"user\":{name}");
            let _ = write!(list, ",\"documents\":{documents}");
            if let Some(at) = identity.and_then(|identity| identity.expires) {
                let _ = write!(list, ",\"expires\":{at}");
            }
            list.push('}');
        }
        if end {
            self.stats.private.ended += meant.len() as u64;
            meant.into_iter().for_each(|key| self.end_session(key));
        }
        Answer { status: 200, content: Content::Json(list), field: None }
    }
}

/// The lists of all shards, as one answer.
pub(crate) fn join_sessions(name: &str, parts: impl Iterator<Item = Answer>) -> Answer {
    let mut list = String::new();
    for part in parts {
        if let Content::Json(json) = part.content
            && !json.is_empty()
        {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&json);
        }
    }
    Answer::ok(&format!(",\"{name}\":[{list}]"))
}

fn no_session() -> Answer {
    Answer::error(ErrorCode::NoSession, "no such session")
}
