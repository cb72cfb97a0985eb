//! Somebody who follows a node's events from the start, and must know what its look-ups say.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::Entry;
use sworm::{Event, Pid};

/// What the events have told of each name.
#[derive(Default)]
pub(super) struct Follower(BTreeMap<Arc<str>, Told>);

#[derive(Debug)]
struct Told {
    pid: Pid,
    runs: bool,
}

impl Follower {
    /// Takes in what was told of a name's change, and compares with what is looked up now.
    pub(super) fn follows(&mut self, name: &Arc<str>, events: &[Event], entry: Option<&Entry>) -> Result<(), String> {
        for event in events {
            self.take(name, event).map_err(|known| format!("{event:?} follows {known}"))?;
        }
        let told = self.0.get(name);
        let same = match (told, entry) {
            (None, None) => true,
            (Some(told), Some(entry)) => {
                let pid = entry.cell.pid(&told.pid.sworm, name, &entry.host);
                (&told.pid, told.runs) == (&pid, entry.running)
            }
            _ => false,
        };
        same.then_some(()).ok_or_else(|| format!("{name} is {entry:?}, and events told of {told:?}"))
    }

    fn take(&mut self, name: &Arc<str>, event: &Event) -> Result<(), String> {
        let known = self.0.get_mut(name);
        let wrong = format!("{known:?}");
        match (event, known) {
            (Event::Registered { pid, .. }, None) => {
                self.0.insert(name.clone(), Told { pid: pid.clone(), runs: false });
            }
            (Event::Moved { from, pid, .. } | Event::Restarted { from, pid, .. }, Some(told))
                if *from == told.pid && pid != from =>
            {
                *told = Told { pid: pid.clone(), runs: false };
            }
            (Event::Started { pid } | Event::Resumed { pid }, Some(told)) if *pid == told.pid && !told.runs => {
                told.runs = true;
            }
            (
                Event::Handoff { pid, .. }
                | Event::Recovering { pid }
                | Event::Parked { pid }
                | Event::Failed { pid, .. },
                Some(told),
            ) if *pid == told.pid => told.runs = false,
            (Event::Unregistered { pid, .. }, Some(told)) if *pid == told.pid => drop(self.0.remove(name)),
            _ => return Err(wrong),
        }
        Ok(())
    }
}
