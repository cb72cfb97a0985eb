//! The thread that looks after the session: opens it anew, answers, and closes it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::query::{ConsolidationMode, Query, QueryTarget};
use zenoh::sample::Locality;

use super::keys::Sign;
use super::queue::{Item, Queue, Shared};
use super::receiver::{Open, Receiver};
use super::reopen::{Reopening, Why};

/// How long the end waits for the others to say that they have received everything.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// However the thread ends, nothing waits for a session any more.
struct End(Queue);

impl Drop for End {
    fn drop(&mut self) {
        self.0.shared.puts.end();
        self.0.shared.lanes.end();
    }
}

/// The state of the thread.
pub(super) struct Keeper {
    receiver: Receiver,
    /// It belongs to the thread, so that the session is never closed inside a runtime.
    open: Open,
    reopening: Reopening,
}

impl Keeper {
    pub(super) fn new(receiver: Receiver, open: Open, reopening: Reopening) -> Self {
        receiver.queue.shared.puts.begin(open.session.clone(), receiver.keys.clone(), reopening.has_priorities());
        Self { receiver, open, reopening }
    }

    /// Works until it is told to end, or nobody is left to tell it.
    pub(super) fn run(self, items: &mpsc::Receiver<Item>) {
        let _end = End(self.receiver.queue.clone());
        self.keep(items);
    }

    fn keep(mut self, items: &mpsc::Receiver<Item>) {
        loop {
            let (asleep, limit) = (Instant::now(), self.reopening.until_look());
            let next = match items.recv_timeout(limit) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let late = asleep.elapsed().saturating_sub(limit);
            let is_over = matches!(next, Some(Item::Close { .. } | Item::Abort));
            if let Some(why) = self.reopening.look(&self.open.session, &self.receiver, late).filter(|_| !is_over) {
                let Some(again) = self.reopen(&why) else { return };
                self = again;
            }
            match next {
                None => {}
                Some(Item::Forget(peer)) => self.shared().puts.forget(&peer),
                Some(Item::Answer(query)) => self.answer(&query),
                Some(Item::Close { flushed, closed }) => {
                    self.shared().lanes.flush_and_end(self.shared());
                    self.wait_until_received();
                    // Whoever waits for these may have given up.
                    let _ = flushed.send(());
                    self.end();
                    let _ = closed.send(());
                    return;
                }
                Some(Item::Abort) => return self.end(),
            }
        }
    }

    /// The same with another session.
    fn reopen(self, why: &Why) -> Option<Self> {
        self.shared().puts.pause();
        let Self { receiver, open, mut reopening } = self;
        let open = reopening.reopen(open, &receiver, why)?;
        Some(Self::new(receiver, open, reopening))
    }

    /// Says that this node is gone, then closes all links.
    fn end(self) {
        self.shared().puts.end();
        self.open.say_that_it_ends(&self.receiver, Sign::Ends).close();
    }

    fn shared(&self) -> &Shared {
        &self.receiver.queue.shared
    }

    fn answer(&self, query: &Query) {
        let known = self.shared().known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = query.reply(query.key_expr(), known).wait() {
            tracing::debug!(%error, "a query was not answered");
        }
    }

    /// Asks the others whether they have received everything: a query follows the messages on each link, and closing a
    /// link that does not linger discards what is still under way.
    fn wait_until_received(&self) {
        if self.shared().abandoned.load(Relaxed) {
            return;
        }
        let answers = self
            .open
            .session
            .get(self.receiver.keys.every_flush())
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            .timeout(FLUSH_LIMIT)
            .wait();
        match answers {
            Ok(answers) => while answers.recv().is_ok() {},
            Err(error) => tracing::debug!(%error, "the others could not be asked"),
        }
    }
}
