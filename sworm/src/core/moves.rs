//! Moves that somebody asked for: of one name, of all that a node has ([`draining`](super::draining)), and for balance. The
//! handover itself is [`handoff`](super::handoff)'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Effect;
use super::cell::{NameCell, NameState, Release};
use super::directory::Standing;
use super::host::LocalPhase;
use super::ids::{Birth, Epoch, NodeId, Peer, Request, RequestId};
use super::message::{Done, Message, Refusal};
use super::placement::Placing;
use super::state::Core;

/// A worker of this node that is to go elsewhere.
#[derive(Debug)]
pub struct Wish {
    birth: Birth,
    /// The only node that it may go to.
    to: Option<NodeId>,
    wanted: Wanted,
    again_ms: u64,
    until_ms: u64,
}

/// Who wants a worker to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Somebody has asked for it, at last with that attempt.
    Asked(BTreeMap<RequestId, u32>),
    /// The node is being emptied.
    Drain,
    /// It would be better placed there.
    Balance,
}

impl Wish {
    /// Whether a worker can be given away now: one without a task, whose start is to be tried again or whose state is looked for,
    /// where it was asked for or the node is being emptied.
    fn may_go(&self, phase: &LocalPhase) -> bool {
        matches!(phase, LocalPhase::Running) || has_no_task(phase) && self.wanted != Wanted::Balance
    }

    /// Whether it is there because the node is being emptied.
    pub(super) fn is_to_drain(&self) -> bool {
        self.wanted == Wanted::Drain
    }
}

/// How many workers move at a time because the node is being emptied or somebody asked for it.
const MAX_MOVES: usize = 1_024;
/// When the arbiter is asked again.
const ASK_AGAIN_MS: u64 = 500;
/// When it is asked again for a worker that had nowhere to go, or could not give its state.
const NOWHERE_MS: u64 = 5_000;
/// How long a wish holds that nobody repeats.
const WISH_MS: u64 = 3_000;
/// How long one for balance does.
const BALANCE_WISH_MS: u64 = 30_000;

impl Core {
    /// Somebody asks for a name to run on a certain node. It is asked again and again, of whoever hosts the name, until
    /// that is the one.
    pub(super) fn on_ask_move(&mut self, request: &Request, name: &Arc<str>, to: &NodeId) {
        match self.standing(name) {
            Standing::Free => self.answer_to(request, Err(Refusal::NotRegistered)),
            Standing::Claimed { host, cell } if host == self.config.me && *to == host.node => {
                if self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Running)) {
                    let moved = Done::Moved { name: name.clone(), said: self.directory.said(&host, name), host, cell };
                    let answer = request.answer(Ok(moved));
                    self.once_durable(Effect::Send { to: request.id.from.clone(), message: Box::new(answer) });
                }
            }
            Standing::Claimed { host, cell } if host == self.config.me => {
                if cell.attached {
                    let why = format!("{name:?} is the name of a task, which stays where it is");
                    return self.answer_to(request, Err(Refusal::NoCandidate { why }));
                }
                let requests = BTreeMap::from([(request.id.clone(), request.attempt)]);
                self.wish(name, Some(to.clone()), Wanted::Asked(requests), WISH_MS);
            }
            Standing::Claimed { .. } => self.answer_to(request, Err(Refusal::Again)),
            Standing::Source { cell, .. } => self.answer_to(request, Err(without_host(&cell))),
        }
    }

    /// Notes that a worker of this node is to go. A request goes before what this node wants by itself; of two requests for
    /// different places the first goes first.
    pub(super) fn wish(&mut self, name: &Arc<str>, to: Option<NodeId>, wanted: Wanted, for_ms: u64) {
        let Some(birth) = self.local.get(name).map(|local| local.birth) else { return };
        let until_ms = self.now.mono_ms.saturating_add(for_ms);
        match self.wishes.get_mut(name).filter(|wish| wish.birth == birth) {
            Some(wish) => match (&mut wish.wanted, wanted) {
                (Wanted::Asked(all), Wanted::Asked(more)) if wish.to == to => {
                    all.extend(more);
                    wish.until_ms = until_ms;
                }
                (Wanted::Drain | Wanted::Balance, wanted @ Wanted::Asked(_))
                | (Wanted::Balance, wanted @ Wanted::Drain) => {
                    *wish = Wish { birth, to, wanted, again_ms: 0, until_ms };
                }
                _ => {}
            },
            None => drop(self.wishes.insert(name.clone(), Wish { birth, to, wanted, again_ms: 0, until_ms })),
        }
    }

    /// How many workers of this node are on their way.
    pub(super) fn on_their_way(&self) -> usize {
        self.local.values().filter(|l| matches!(l.phase, LocalPhase::Moving(_) | LocalPhase::Parking)).count()
    }

    pub(super) fn tick_moves_asked_for(&mut self) {
        self.tick_drain();
        if self.wishes.is_empty() || self.leaving.is_some() {
            return;
        }
        let now = self.now.mono_ms;
        let local = &self.local;
        self.wishes.retain(|name, wish| {
            let Some(local) = local.get(name).filter(|local| local.birth == wish.birth) else { return false };
            // One that is on its way counts until it has gone, however long that takes.
            let is_going =
                wish.wanted == Wanted::Balance && matches!(local.phase, LocalPhase::Moving(_) | LocalPhase::Parking);
            now < wish.until_ms || is_going
        });
        let mut room = MAX_MOVES.saturating_sub(self.on_their_way());
        let mut asks = Vec::new();
        for (name, wish) in &mut self.wishes {
            let may_go = self.local.get(name).is_some_and(|local| wish.may_go(&local.phase));
            if room == 0 || !may_go || now < wish.again_ms {
                continue;
            }
            room -= 1;
            wish.again_ms = now + ASK_AGAIN_MS;
            asks.push((name.clone(), wish.birth, wish.to.clone()));
        }
        for (name, birth, to) in asks {
            self.ask_where_to(&name, birth, to);
        }
    }

    pub(super) fn ask_where_to(&mut self, name: &Arc<str>, birth: Birth, to: Option<NodeId>) {
        if let Some(arbiter) = self.view.arbiter(name).cloned() {
            self.send(&arbiter, Message::Move { name: name.clone(), birth, to });
        }
    }

    /// Whether a worker is to go and has no task: it goes without being asked for its state. Those of a node that leaves are parked.
    pub(super) fn goes_without_a_task(&self, name: &Arc<str>) -> bool {
        let phase = self.local.get(name).map(|local| &local.phase);
        let wish = self.wishes.get(name).filter(|_| self.leaving.is_none());
        phase.zip(wish).is_some_and(|(phase, wish)| has_no_task(phase) && wish.may_go(phase))
    }

    /// Gives a worker away that has no task. Nobody need accept it: whoever gets it looks for its state as one that adopts it would.
    pub(super) fn give_without_a_task(&mut self, name: &Arc<str>, to: Peer, epoch: Epoch) {
        self.local.remove(name);
        self.restoring.remove(name);
        self.awaited.remove(name);
        self.has_gone(name);
        let release = Release { to, epoch, snapshot: None };
        self.restate(name, |cell| cell.state = NameState::Released(Box::new(release)));
    }

    /// Decides where a name goes that its host gives up, at which epoch.
    pub(super) fn on_move(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, on: Option<&NodeId>) {
        if !self.is_arbiter(name) || !self.settled() {
            return; // its host asks again
        }
        let Standing::Claimed { host, cell } = self.standing(name) else { return };
        if host != *from || cell.birth != birth {
            return;
        }
        let to = match self.place(Placing { on, ..Placing::again(name, &cell, Some(from)) }) {
            Ok(to) => {
                let epoch: Epoch = self.strong_epoch(name);
                Ok((to, epoch))
            }
            Err(refusal) => Err(refusal.why()),
        };
        self.send(from, Message::MoveTo { name: name.clone(), birth, to });
    }

    /// A worker that was to go cannot: whoever asked for it is told why, and it is not tried again at once.
    pub(super) fn cannot_go(&mut self, name: &Arc<str>, refusal: Refusal) {
        let Some(wish) = self.wishes.get_mut(name) else { return };
        match &wish.wanted {
            Wanted::Asked(requests) => {
                let requests = requests.clone();
                self.wishes.remove(name);
                for (id, attempt) in requests {
                    self.answer_to(&Request { id, attempt }, Err(refusal.clone()));
                }
            }
            Wanted::Drain => {
                wish.again_ms = self.now.mono_ms + NOWHERE_MS;
                if let Refusal::NoCandidate { why } = refusal {
                    self.stays_here(name, why);
                }
            }
            Wanted::Balance => drop(self.wishes.remove(name)),
        }
    }

    /// Whether a worker is to go.
    pub(super) fn is_to_go(&self, name: &Arc<str>) -> bool {
        self.leaving.is_some() || self.wishes.contains_key(name)
    }

    /// The workers that are to go for balance and have not gone yet: where to.
    pub(super) fn wishes_for_balance(&self) -> impl Iterator<Item = &NodeId> {
        let wishes = self.wishes.values().filter(|wish| wish.wanted == Wanted::Balance);
        wishes.filter_map(|wish| wish.to.as_ref())
    }

    /// Those of them that have not begun to go stay.
    pub(super) fn drop_wishes_for_balance(&mut self) {
        let runs =
            |name: &Arc<str>| self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Running));
        self.wishes.retain(|name, wish| wish.wanted != Wanted::Balance || !runs(name));
    }

    /// A worker is to go to that node for balance.
    pub(super) fn wish_for_balance(&mut self, name: &Arc<str>, to: NodeId) {
        self.wish(name, Some(to), Wanted::Balance, BALANCE_WISH_MS);
    }
}

/// Whether it has no task: its start is to be tried again, or its state is looked for.
fn has_no_task(phase: &LocalPhase) -> bool {
    matches!(phase, LocalPhase::Waiting { .. } | LocalPhase::Restoring)
}

/// Why what only the host of a name could do is not done, where the name has none.
pub(super) fn without_host(cell: &NameCell) -> Refusal {
    match &cell.state {
        NameState::Failed { reason } => Refusal::Failed { reason: reason.clone() },
        _ => Refusal::Again,
    }
}
