//! Who asks: a request that shows credentials waits until it is known what they prove.
//!
//! What takes no time is found out at once: certificates, tokens, passwords that were proved a
//! while ago. All else is a question to the shell ([`Output::Ask`]); its connection reads nothing
//! until the finding comes back, and the request, which waits in the connection's input, is then
//! read again. Other connections go on.

use std::sync::Arc;

use crate::auth::evidence::Evidence;
use crate::auth::identity::Means;
use crate::auth::office::{DIRECT, Finding, Look, Matter, Office, Question, Way};
use crate::auth::proved::Proved;
use crate::auth::verdict::{Counts, Proof, Refusal, Verdict};
use crate::base::id::ConnKey;
use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::http::request::{Framing, Head, Method};
use crate::proto::answer::{Answer, Carriage, Meta};
use crate::proto::connection::Phase;
use crate::proto::hub::Hub;
use crate::proto::intake::Step;
use crate::proto::output::Output;
use crate::proto::routes::is_prefetch;
use crate::wire::command::{Command, Request};

/// How long a finding may be late before the client is told that nobody says anything.
const LATE: Span = Span::from_secs(5);

/// What a request has proved: somebody, nobody, or that it is to be refused.
pub(crate) type Standing = Result<Option<Proof>, Refusal>;

/// Decides who clients are, on one shard.
#[derive(Debug)]
pub(crate) struct Porter {
    pub(crate) office: Arc<Office>,
    proved: Proved,
    pub(crate) counts: Counts,
    /// The number of the next question.
    serial: u32,
    /// What was found for the request that is read next; empty between two inputs.
    found: Option<(ConnKey, Verdict)>,
}

impl Hub {
    /// Has clients prove who they are by the rules of that office, from now on.
    pub fn authenticate(&mut self, office: Arc<Office>, now: Instant) {
        self.now = now;
        let mut key = [0; 32];
        self.random.fill(&mut key);
        let proved = Proved::new(&key, office.remember, office.remember_max);
        let (counts, serial) = match self.porter.take() {
            Some(porter) => (porter.counts, porter.serial),
            None => (Counts::default(), 0),
        };
        self.porter = Some(Box::new(Porter { office, proved, counts, serial, found: None }));
    }

    /// What became of those who had to prove who they are.
    pub(crate) fn auth_counts(&self) -> Counts {
        self.porter.as_ref().map_or_else(Counts::default, |porter| porter.counts.clone())
    }

    /// What a command's request proves; `None`: it must wait for that.
    pub(crate) fn standing(
        &mut self,
        conn: ConnKey,
        head: &Head<'_>,
        request: &Request<'_>,
    ) -> Option<Standing> {
        if self.porter.is_none() || !proves(head, request) || self.is_foreign(head) {
            return Some(Ok(None));
        }
        let seen = Seen { resource: resource_of(request), ..Seen::of(head) };
        self.look_at(conn, request.way(), &seen)
    }

    /// What a command proves that came as a line, which shows `authorization`; `None`: it must wait
    /// for that.
    pub(crate) fn standing_of_line(
        &mut self,
        conn: ConnKey,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Option<Standing> {
        let connection = self.conns.get(conn).filter(|_| self.porter.is_some());
        let Some(connection) = connection else { return Some(Ok(None)) };
        let shows = authorization.is_some() || connection.secured.is_some();
        if !shows && request.way().is_none() {
            return Some(Ok(None));
        }
        let at_once = matches!(connection.phase, Phase::Stream(_));
        let resource = resource_of(request);
        let seen = Seen { authorization, resource, at_once, ..Seen::default() };
        self.look_at(conn, request.way(), &seen)
    }

    /// Looks at what was shown, by the way of that name, else by those that need none.
    fn look_at(&mut self, conn: ConnKey, name: Option<&str>, seen: &Seen<'_>) -> Option<Standing> {
        let porter = self.porter.as_ref()?;
        match name.map(|name| porter.office.way_named(name)) {
            None => self.look(conn, seen, &DIRECT),
            Some(Ok(way)) => self.look(conn, seen, &[way]),
            Some(Err(why)) => Some(Err(self.count_refusal(why))),
        }
    }

    /// What the request for a guarded path of the web site proves; `None`: it must wait.
    fn standing_on_site(&mut self, conn: ConnKey, head: &Head<'_>) -> Option<Standing> {
        let Some(porter) = &self.porter else { return Some(Ok(None)) };
        let Some(ways) = porter.office.ways_into(head.target.path) else { return Some(Ok(None)) };
        let ways = ways.to_vec();
        let seen = Seen { path: Some(head.target.path), ..Seen::of(head) };
        let standing = self.look(conn, &seen, &ways)?;
        let Some(porter) = self.porter.as_mut().filter(|_| standing == Ok(None)) else {
            return Some(standing);
        };
        let why = porter.office.unproved(&ways, "this part of the site asks who you are");
        Some(Err(self.count_refusal(why)))
    }

    fn look(&mut self, conn: ConnKey, seen: &Seen<'_>, ways: &[Way]) -> Option<Standing> {
        let (now, unix_seconds) = (self.now, self.unix_micros() / 1_000_000);
        let porter = self.porter.as_mut()?;
        if let Some((_, verdict)) = porter.found.take_if(|(found, _)| *found == conn) {
            return Some(verdict.map(Some));
        }
        let connection = self.conns.get_mut(conn)?;
        let secured = connection.secured.clone();
        let look = porter.office.look(ways, seen.authorization, secured.as_deref(), unix_seconds);
        let matter = match look {
            Look::Nothing => return Some(Ok(None)),
            Look::Told(verdict) => return Some(self.count_verdict(verdict).map(Some)),
            Look::Password(shown) => {
                let tag = porter.proved.tag(&shown);
                if let Some(identity) = porter.proved.find(&tag, now) {
                    porter.counts.remembered += 1;
                    return Some(Ok(Some(identity.into())));
                }
                Matter::Password(shown, tag)
            }
            Look::Ask(index) => {
                let evidence = Evidence { secured, ..seen.evidence(connection.address()) };
                Matter::Helper(index, Box::new(evidence))
            }
        };
        if seen.at_once {
            let detail = "beside a document only a token or a certificate proves who you are: \
                 use another connection";
            return Some(Err(self.count_refusal(Refusal::Unknown(detail.into()))));
        }
        let office = Arc::clone(&porter.office);
        let patience = office.patience + LATE;
        porter.serial = porter.serial.wrapping_add(1);
        let serial = porter.serial;
        connection.phase = Phase::Asking(serial);
        let question = Question { conn, serial, office, unix_seconds, matter };
        self.outputs.push_back(Output::Ask(Box::new(question)));
        self.set_deadline(conn, patience);
        None
    }

    /// What was found out about a question of [`Output::Ask`].
    pub fn handle_finding(&mut self, finding: Finding, now: Instant) {
        self.now = now;
        let Finding { conn, serial, tag, verdict } = finding;
        let waits = |phase: &Phase| matches!(phase, Phase::Asking(asked) if *asked == serial);
        if !self.conns.get(conn).is_some_and(|connection| waits(&connection.phase)) {
            // The client has gone, or was told that nobody says anything.
            return;
        }
        let verdict = self.count_verdict(verdict);
        if let (Some(porter), Some(tag), Ok(proof)) = (&mut self.porter, tag, &verdict) {
            porter.proved.keep(tag, Arc::clone(&proof.identity), now);
        }
        self.go_on(conn, verdict);
    }

    /// Nobody has said in time who the client of that connection is.
    pub(crate) fn give_up_asking(&mut self, conn: ConnKey) {
        let why = self.count_refusal(Refusal::Silent("nobody has said in time who you are"));
        self.go_on(conn, Err(why));
    }

    /// Reads the request again that has waited.
    fn go_on(&mut self, conn: ConnKey, verdict: Verdict) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.phase = Phase::Head;
        if let Some(porter) = &mut self.porter {
            porter.found = Some((conn, verdict));
        }
        self.set_deadline(conn, self.settings.idle_timeout);
        self.resume_intake(conn);
        if let Some(porter) = &mut self.porter {
            porter.found = None;
        }
    }

    fn count_verdict(&mut self, verdict: Verdict) -> Verdict {
        let Some(porter) = &mut self.porter else { return verdict };
        match &verdict {
            Ok(proof) => {
                let place = match proof.identity.means {
                    Means::Certificate => 0,
                    Means::Basic => 1,
                    Means::Token => 2,
                    Means::Script | Means::Control => 3,
                };
                porter.counts.proved[place] += 1;
            }
            Err(why) => porter.counts.refused(why),
        }
        verdict
    }

    pub(crate) fn count_refusal(&mut self, why: Refusal) -> Refusal {
        if let Some(porter) = &mut self.porter {
            porter.counts.refused(&why);
        }
        why
    }

    /// Who of a guarded path's clients is let through: the user, if there is one.
    pub(crate) fn admit_to_site(
        &mut self,
        conn: ConnKey,
        head: &Head<'_>,
        rest: usize,
    ) -> Result<Option<Proof>, Step> {
        let why = match self.standing_on_site(conn, head) {
            Some(Ok(proof)) => return Ok(proof),
            Some(Err(why)) => why,
            None => return Err(Step::Wait),
        };
        let has_body = head.framing != Framing::None;
        let meta = Meta {
            carriage: Carriage::Http(head.version),
            head_only: head.method == Method::Head,
            // Nobody wants the body, so nobody reads to its end.
            close: !head.persistent || self.stopping || has_body,
            origin: None,
        };
        let close = meta.close;
        let reply = self.open_exchange(conn, meta);
        if let Some(connection) = self.conns.get_mut(conn) {
            connection.last_taken |= close;
        }
        self.give(reply, refusal(&why));
        self.set_deadline(conn, self.settings.idle_timeout);
        Err(Step::Used(rest))
    }
}

/// The answer to whom is not let in.
pub(crate) fn refusal(why: &Refusal) -> Answer {
    match why {
        Refusal::Unproved { challenge, detail } => {
            let answer = Answer::error(ErrorCode::AuthRequired, detail);
            Answer { field: Some(("WWW-Authenticate", challenge.clone())), ..answer }
        }
        Refusal::Forbidden(detail) => Answer::error(ErrorCode::Forbidden, detail),
        Refusal::Unknown(detail) => Answer::error(ErrorCode::BadRequest, detail),
        Refusal::Busy => Answer::error(ErrorCode::Busy, "too many wait to prove who they are"),
        Refusal::Silent(detail) => Answer::error(ErrorCode::Busy, detail),
    }
}

/// Whether it matters who makes the request: not where it changes nothing, or anybody may.
fn proves(head: &Head<'_>, request: &Request<'_>) -> bool {
    let indifferent = match request.command {
        Command::ClientJs => true,
        Command::Ping { .. } => request.mid.is_none(),
        _ => false,
    };
    !indifferent && matches!(head.method, Method::Get | Method::Post) && !is_prefetch(head)
}

/// The resource of which a login asks whether it may be opened.
fn resource_of<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    match &request.command {
        Command::Login { resource, .. } => resource.as_deref(),
        _ => None,
    }
}

/// What is seen of a client beside its connection.
#[derive(Clone, Copy, Default)]
struct Seen<'a> {
    authorization: Option<&'a str>,
    host: Option<&'a str>,
    cookie: Option<&'a str>,
    agent: Option<&'a str>,
    resource: Option<&'a str>,
    path: Option<&'a str>,
    /// Whether nothing can wait for what is found out.
    at_once: bool,
}

impl<'a> Seen<'a> {
    fn of(head: &'a Head<'a>) -> Self {
        Self {
            authorization: head.field("Authorization"),
            host: head.host,
            cookie: head.field("Cookie"),
            agent: head.field("User-Agent"),
            ..Self::default()
        }
    }

    fn evidence(&self, address: std::net::SocketAddr) -> Evidence {
        use crate::auth::basic::{Shown, read};
        let (basic, token) = match self.authorization.map(read) {
            Some(Shown::Basic(basic)) => (Some(basic), None),
            Some(Shown::Bearer(token)) => (None, Some(token)),
            _ => (None, None),
        };
        Evidence {
            host: self.host.map(str::to_owned),
            basic,
            token,
            cookie: self.cookie.map(Into::into),
            agent: self.agent.map(str::to_owned),
            resource: self.resource.map(str::to_owned),
            path: self.path.map(str::to_owned),
            ..Evidence::new(address)
        }
    }
}
