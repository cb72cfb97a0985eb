//! The cure of links that are half open: the session is opened anew, and with it every link of this node. zenoh cannot close
//! a single one.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use zenoh::Wait;
use zenoh::session::Session;

use super::keys::Sign;
use super::receiver::{Open, Receiver};
use crate::node::random_u64;

/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long links live without a sign, where the configuration does not say.
const LEASE: Duration = Duration::from_secs(2);
/// The others dial a node whose sign of life they miss at once, and take one that refuses for dead. It has told them that it
/// will be back, and still listens for so long, for those whom that does not reach.
const STILL_LISTENING: Duration = Duration::from_millis(100);
/// Between two attempts to listen again: the old session may not have let go of its port yet, at first.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
const LONGEST_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long what is to be sent waits for those who were there before.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// What this did not cure will not be cured by doing it more often.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(15);

/// Looks after the links.
pub(super) struct Reopening {
    runtime: Handle,
    config: zenoh::Config,
    /// A thread that wakes up so much too late stood still with its whole process: the others have given up its links.
    stood_still: Duration,
    looked: Instant,
    reopened: Option<Instant>,
}

/// What a look has found.
#[derive(Debug)]
pub(super) enum Why {
    /// A session is linked and shows no sign of life.
    HalfOpen,
    /// This process did not run: the others have given up their ends of its links.
    StoodStill,
}

impl Reopening {
    pub(super) fn new(runtime: Handle, config: zenoh::Config) -> Self {
        let lease = config.get_json("transport/link/tx/lease").ok().and_then(|ms| ms.parse().ok());
        let stood_still = lease.map_or(LEASE, Duration::from_millis);
        Self { runtime, config, stood_still, looked: Instant::now(), reopened: None }
    }

    /// Whether messages of each priority have a queue of their own.
    pub(super) fn has_priorities(&self) -> bool {
        self.config.get_json("transport/unicast/qos/enabled").is_ok_and(|enabled| enabled == "true")
    }

    /// How long until the next look.
    pub(super) fn until_look(&self) -> Duration {
        LOOK_EVERY.saturating_sub(self.looked.elapsed())
    }

    /// Whether the session should be opened anew. `late` is how much too late the thread woke up.
    pub(super) fn look(&mut self, session: &Session, receiver: &Receiver, late: Duration) -> Option<Why> {
        let stood_still = late >= self.stood_still;
        if !stood_still && !self.until_look().is_zero() {
            return None;
        }
        self.looked = Instant::now();
        let linked: BTreeSet<String> = session.info().peers_zid().wait().map(|session| session.to_string()).collect();
        if self.reopened.is_some_and(|at| at.elapsed() < NOT_AGAIN_FOR) {
            return None;
        }
        if stood_still && !linked.is_empty() {
            return Some(Why::StoodStill);
        }
        receiver.signs.are_half_open(&linked).then_some(Why::HalfOpen)
    }

    /// Ends the session and opens another one; nothing if the transport ends meanwhile.
    pub(super) fn reopen(&mut self, old: Open, receiver: &Receiver, why: &Why) -> Option<Open> {
        let began = Instant::now();
        let old = old.say_that_it_ends(receiver, Sign::Again);
        std::thread::sleep(STILL_LISTENING);
        let before = receiver.signs.forget_all();
        old.close();
        let mut again_after = AGAIN_AFTER;
        let open = loop {
            if receiver.queue.shared.abandoned.load(Relaxed) {
                return None;
            }
            let config = self.config_of_another();
            let opened = self.runtime.block_on(async {
                let session = zenoh::open(config?).await?;
                receiver.declare(session).await
            });
            match opened {
                Ok(open) => break open,
                Err(error) if again_after < LONGEST_AGAIN_AFTER => {
                    tracing::debug!(%error, "the zenoh session cannot be opened anew yet");
                }
                Err(error) => tracing::error!(%error, "the zenoh session cannot be opened anew; it is tried for ever"),
            }
            std::thread::sleep(again_after);
            again_after = (again_after * 2).min(LONGEST_AGAIN_AFTER);
        };
        let listening = began.elapsed();
        receiver.signs.wait_for(&before, BACK_WITHIN);
        tracing::warn!(node = &*receiver.me.node, ?why, ?listening, after = ?began.elapsed(), "the zenoh session was opened anew");
        self.reopened = Some(Instant::now());
        Some(open)
    }

    /// The same configuration under another id: to the others it is another session. It is open when it listens.
    fn config_of_another(&self) -> zenoh::Result<zenoh::Config> {
        let mut config = self.config.clone();
        let id = format!("\"{:x}{:016x}\"", random_u64() >> 1 | 1 << 62, random_u64());
        for (key, value) in [("id", &*id), ("listen/exit_on_failure", "true"), ("listen/timeout_ms", "0")] {
            config.insert_json5(key, value)?;
        }
        Ok(config)
    }
}
