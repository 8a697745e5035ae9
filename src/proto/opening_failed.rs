//! Telling clients that a channel could not be opened.

use crate::base::id::{Cid, Key};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::html::frame;
use crate::proto::answer::Answer;
use crate::proto::hub::Hub;
use crate::proto::opening::Opening;
use crate::proto::parcel::ReplyTo;

impl Hub {
    /// An open has failed that waited.
    pub(crate) fn opening_failed(&mut self, opening: Opening, code: ErrorCode, detail: &str) {
        let (session, chosen) = (opening.session, opening.chosen);
        // Who may not read where it leads needs not know that place.
        let name = opening.asked.as_ref().unwrap_or(&opening.name);
        let in_document = opening.in_document.then_some(None);
        for reply in opening.replies.into_iter().map(Some).chain(in_document) {
            self.open_failed(session, chosen, name, code, detail, reply);
        }
    }

    /// Says that an open has failed: in its answer, else in the documents where `cid` names it.
    pub(crate) fn open_failed(
        &mut self,
        session: Key,
        cid: Option<Cid>,
        name: &TopicName,
        code: ErrorCode,
        detail: &str,
        reply: Option<ReplyTo>,
    ) {
        if let Some(reply) = reply {
            return self.give(reply, Answer::error(code, detail));
        }
        let Some(session) = self.sessions.get(session) else { return };
        for slot in session.document_slots() {
            let Some(document) = self.documents.at_mut(slot) else { continue };
            let may_come = matches!(code, ErrorCode::NoResource | ErrorCode::NoInstance);
            let end = if may_come { ChannelEnd::Gone } else { ChannelEnd::Denied };
            frame::refused(document.notes.get_mut(), cid, name, end);
            self.name_document(slot);
        }
    }
}
