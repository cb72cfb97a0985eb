//! The strategies of workers whose type names none. Nodes may have others, so that these can be changed on one after another;
//! that they do is told once of each.

use std::sync::Arc;

use super::cell::{Key, Value};
use super::directory::Directory;
use super::ids::Peer;
use super::state::Core;
use super::{Effect, Notice};

/// States this node's, if they are not the usual ones. A sworm that is opened anew may have been opened with others.
pub(super) fn state(directory: &mut Directory, me: &Peer, unusual: Option<&Arc<str>>) {
    let stated = directory.lane(me).is_some_and(|lane| lane.fact(&Key::Unusual).is_some());
    match unusual {
        Some(unusual) => directory.put(Key::Unusual, Value::Unusual(unusual.clone())),
        None if stated => directory.remove(&Key::Unusual),
        None => {}
    }
}

impl Core {
    /// Compares those of members that have come with this node's.
    pub(super) fn tick_unusual(&mut self) {
        let came = |peer: &&Peer| **peer != self.config.me && self.compared.get(&peer.node) != Some(&peer.incarnation);
        let came: Vec<Peer> = self.view.members.keys().filter(came).cloned().collect();
        for Peer { node, incarnation } in came {
            let lane = self.directory.lane(&Peer { node: node.clone(), incarnation });
            // Whatever it says of its strategies, it says together with its settings.
            let Some(lane) = lane.filter(|lane| lane.fact(&Key::Sworm).is_some()) else { continue };
            let theirs = match lane.fact(&Key::Unusual) {
                Some(Value::Unusual(theirs)) => Some(theirs.clone()),
                _ => None,
            };
            self.compared.insert(node.clone(), incarnation);
            let ours = self.config.unusual.clone();
            if theirs != ours {
                self.out.push(Effect::Tell(Notice::OtherStrategies { node, theirs, ours }));
            }
        }
    }
}
