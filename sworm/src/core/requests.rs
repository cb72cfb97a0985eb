//! What this node asks for: each request goes to whoever decides, again and again with the same id, until it is
//! answered or its time is over.

use std::sync::Arc;

use super::Effect;
use super::fault::{Fault, planted};
use super::ids::{Peer, RequestId};
use super::message::{Answer, Ask, Message, Refusal};
use super::state::Core;

/// A request without an answer.
#[derive(Clone, Debug)]
pub struct Pending {
    ask: Ask,
    until_ms: u64,
    /// To whom it was sent last, and when it is sent again.
    sent: Option<(Peer, u64)>,
}

/// How long an answer may take before the request is sent again.
const AGAIN_MS: u64 = 1_000;
/// How soon a request is sent again after `Again`.
const SOON_MS: u64 = 40;

impl Core {
    pub(super) fn on_ask(&mut self, number: u64, ask: Ask, until_ms: u64) {
        self.pending.insert(number, Pending { ask, until_ms, sent: None });
        self.send_request(number);
    }

    pub(super) fn on_answer(&mut self, number: u64, answer: Answer) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if answer == Err(Refusal::Again) {
            if let Some((_, again)) = &mut pending.sent {
                *again = self.now.mono_ms + SOON_MS;
            }
            return;
        }
        self.pending.remove(&number);
        self.out.push(Effect::Answer { number, answer });
    }

    pub(super) fn tick_requests(&mut self) {
        let now = self.now.mono_ms;
        let expired: Vec<u64> = self.pending.iter().filter(|(_, p)| p.until_ms <= now).map(|(n, _)| *n).collect();
        for number in expired {
            self.pending.remove(&number);
            self.out.push(Effect::Expired { number });
        }
        let due: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| p.sent.as_ref().is_none_or(|(_, again)| *again <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.send_request(number);
        }
    }

    /// A new view may have new arbiters.
    pub(super) fn resend_requests(&mut self) {
        let moved: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| p.sent.as_ref().map(|(to, _)| to) != self.decider(&p.ask).as_ref())
            .map(|(number, _)| *number)
            .collect();
        for number in moved {
            self.send_request(number);
        }
    }

    fn send_request(&mut self, number: u64) {
        let Some(pending) = self.pending.get(&number) else { return };
        let (ask, to) = (pending.ask.clone(), self.decider(&pending.ask));
        let Some(to) = to else { return };
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.sent = Some((to.clone(), self.now.mono_ms + AGAIN_MS));
        }
        let request = RequestId { from: self.config.me.clone(), number };
        self.send(&to, Message::Ask { request, ask });
    }

    /// Who decides about a request: the arbiter of the name, or for groups its host.
    fn decider(&self, ask: &Ask) -> Option<Peer> {
        let name: &Arc<str> = ask.name();
        match ask {
            Ask::Register(r) if planted(Fault::PlaceByValue) => {
                self.view.arbiter(&format!("{name}{:?}", r.spec.value)).cloned()
            }
            Ask::Register(_) | Ask::Unregister { .. } => self.view.arbiter(name).cloned(),
            Ask::Join { .. } | Ask::Leave { .. } => match self.standing(name) {
                super::directory::Standing::Claimed { host, .. } => Some(host),
                super::directory::Standing::Source { .. } => None,
                super::directory::Standing::Free => Some(self.config.me.clone()),
            },
        }
    }
}
