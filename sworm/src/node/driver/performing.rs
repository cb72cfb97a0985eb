//! Performs what a core decides.

use super::Driver;
use crate::core::ids::Peer;
use crate::core::message::{Answer, Done, Message};
use crate::core::{Effect, Entry, Input};
use crate::node::frame::Frame;
use crate::node::sworm::{Asked, Opened};
use crate::node::{lease, states};
use crate::store::StoreError;
use crate::transport::Class;
use crate::worker::task::Control;

impl Driver {
    pub(super) fn perform(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut syncs = Vec::new();
        let mut ready = false;
        for effect in effects {
            #[cfg(feature = "faults")]
            let then = self.shared.witnesses.show(&effect, &self.core);
            match effect {
                Effect::Ready => ready = true,
                Effect::Persist(delta) => {
                    let core = &self.core;
                    self.disk.persist(&delta, || core.whole_lane(&delta.lane))?;
                }
                Effect::PersistEnds { ended, dropped } => self.disk.persist_ends(ended, dropped)?,
                Effect::ForgetLane(lane) => self.disk.forget(&lane),
                Effect::StoreSnapshot { name, snapshot } => self.disk.keep(&name, snapshot)?,
                Effect::DeleteSnapshot { name } => self.disk.delete_snapshot(&name),
                Effect::SetAside { name, birth, revision } => self.disk.set_aside(&name, birth, revision)?,
                Effect::DeleteAside { name, birth, revision } => self.disk.delete_aside(&name, birth, revision),
                Effect::LoadSnapshot { purpose } => {
                    self.disk.write()?;
                    let large = self.disk.is_in_chunks(purpose.name());
                    states::load(self.shared.clone(), purpose, large);
                }
                Effect::StoreChunk { name, manifest, index, bytes } => {
                    self.disk.store_chunk(&name, &manifest, index, &bytes)?;
                }
                Effect::DropChunks { name, manifest } => self.disk.drop_chunks(&name, &manifest),
                Effect::SendChunk { to, name, manifest, index } => {
                    self.disk.write()?;
                    states::send_chunk(self.shared.clone(), to, name, manifest, index);
                }
                Effect::Sync(number) => syncs.push(number),
                other => self.perform_here(other),
            }
            #[cfg(feature = "faults")]
            if let Some(then) = then {
                self.disk.write()?;
                then();
            }
        }
        let ticket = self.disk.write()?;
        if let Some(number) = syncs.last().copied() {
            if self.shared.node.store.is_volatile() {
                self.shared.input(Input::Durable(number)); // it is as durable as it will ever be
            } else {
                // The task that syncs ends only with this one.
                let _ = self.syncs.send((number, ticket));
            }
        }
        // Whoever waits for it finds all that came with it, and is told of nothing that was there before.
        if ready {
            self.opened.send_replace(Opened::Ready);
        }
        Ok(())
    }

    fn perform_here(&mut self, effect: Effect) {
        let shared = &self.shared;
        match effect {
            Effect::Send { to, message } => self.send(Some(&to), message),
            Effect::Broadcast(message) => self.send(None, message),
            Effect::Start { name, since, spec, state } => self.start(name, since, spec, state),
            Effect::Pause { name, since, why } => self.pause(name, since, why),
            Effect::Resume { name, since } => {
                self.control(&name, since, Control::Resume);
            }
            Effect::Stop { name, since, why } => self.stop(name, since, why),
            // Whose task is gone is not given it: the next one is.
            Effect::Merge { name, since, snapshot } => {
                self.control(&name, since, Control::Diverged { snapshot });
            }
            Effect::LookAfter(workers) => self.look_after(&workers),
            Effect::Checkpointed { name, since, number, result } => {
                self.control(&name, since, Control::Checkpointed { number, result });
            }
            Effect::Index { name, entry } => {
                let here = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.host == shared.node.me);
                let leaves = here(shared.index.get(&name).as_ref()) && !here(entry.as_ref());
                // Looked at after the change: whoever begins to watch now has either seen it or is told.
                shared.index.change(&name, entry, |old, new| {
                    if shared.watchers.are_there() {
                        shared.watchers.tell(self.core.changes(&name, old, new));
                    }
                });
                if leaves {
                    shared.drop_detached(&name);
                }
            }
            Effect::Overlay { name, entry } => shared.index.overlay(&name, entry),
            Effect::Answer { number, answer } => {
                self.overlay_end(&answer);
                shared.asked_is(number, Asked::Answer(answer));
            }
            Effect::Expired { number } => shared.asked_is(number, Asked::Expired),
            Effect::Viewed(peers) => shared.index.set_nodes(peers.into_iter().map(|peer| peer.node).collect()),
            Effect::Disagreed { node, theirs } => {
                drop(self.opened.send_replace(Opened::Disagreed { node, theirs }));
            }
            Effect::Lease { until_ms } => {
                shared.lease.set(until_ms);
                if until_ms == 0 {
                    lease::abort_late(shared);
                }
            }
            Effect::Left { parked, unsaved, late } => {
                drop(self.opened.send_replace(Opened::Left { parked, unsaved, late }));
            }
            Effect::Drained { call, drained } => drop(shared.drained.send_replace((call, drained))),
            Effect::Tell(notice) => self.tell(&notice),
            Effect::Ready
            | Effect::Persist(_)
            | Effect::PersistEnds { .. }
            | Effect::ForgetLane(_)
            | Effect::Sync(_)
            | Effect::StoreSnapshot { .. }
            | Effect::DeleteSnapshot { .. }
            | Effect::SetAside { .. }
            | Effect::DeleteAside { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::StoreChunk { .. }
            | Effect::DropChunks { .. }
            | Effect::SendChunk { .. } => unreachable!("performed by the caller"),
        }
    }

    fn send(&self, to: Option<&Peer>, message: Box<Message>) {
        let class = match *message {
            // Told again, or pulled.
            Message::Beat(_)
            | Message::Delta(_)
            | Message::Versions(_)
            | Message::Pull(_)
            | Message::Part(_)
            | Message::PullPart { .. } => Class::Droppable,
            _ => Class::Important,
        };
        let node = &self.shared.node;
        match Frame::Core(self.shared.hash, node.me.clone(), message).encode() {
            Ok(frame) => match to {
                Some(to) => node.send(to, class, frame),
                None => node.broadcast(class, frame),
            },
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    /// A name that was ended is gone before the directory shows it: a caller reads its own writes.
    fn overlay_end(&self, answer: &Answer) {
        let index = &self.shared.index;
        if let Ok(Done::Unregistered { name, births }) = answer
            && index.get(name).is_some_and(|entry| births.contains(&entry.cell.birth))
        {
            index.overlay_end(name);
        }
    }
}
