//! What a node thinks of the others and keeps of a name, for people.

use std::sync::Arc;

use super::cell::Revision;
use super::ids::{Birth, Peer};
use super::state::Core;

impl Core {
    /// What it thinks of the others, for people.
    pub fn describe_members(&self) -> String {
        let members = self.members.iter().map(|(node, member)| {
            let beat = member.beat.as_ref().map(|(beat, at)| (beat.phase, beat.view == self.view.hash, at));
            let synced = member.is_synced(self.view.hash);
            format!("{node}#{} present {} synced {synced} beat {beat:?}", member.incarnation, member.present)
        });
        let members: Vec<String> = members.collect();
        let majority = self.majority.as_ref().map_or(String::new(), |majority| format!("; {majority:?}"));
        let (me, view, now) = (&self.config.me, &self.view.members, self.now.mono_ms);
        format!("{me} in {view:?} at {now}: {}{majority}", members.join("; "))
    }

    /// What it does for a name and keeps of it, for people.
    pub fn describe(&self, name: &Arc<str>) -> String {
        format!("local {:?}, stored {:?}", self.local.get(name), self.stored.get(name))
    }

    /// Of which lineage it keeps a state of a name, and which.
    pub fn kept(&self, name: &Arc<str>) -> Option<(Birth, Revision)> {
        self.stored.get(name).map(|stored| (stored.birth, stored.revision))
    }

    /// Whether another node takes part, as far as it knows.
    pub fn has_in_view(&self, peer: &Peer) -> bool {
        self.view.contains(peer)
    }

    /// The members that it takes for Up.
    pub fn up(&self) -> impl Iterator<Item = &Peer> {
        self.view.up()
    }
}
