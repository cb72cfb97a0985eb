//! Messages over zenoh's own session, with the settings that Sworm gives it.

use std::sync::Arc;
use std::time::Duration;

use ::zenoh::qos::CongestionControl;
use ::zenoh::query::ConsolidationMode;
use ::zenoh::{Config, Session, Wait};
use sworm::BoxError;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Waiting;
use crate::load::{Load, load};

const QUERY: &str = "bench/query";
const THERE: &str = "bench/there";
const BACK: &str = "bench/back";
/// What comes here is put back by a task.
const THERE_BY_TASK: &str = "bench/there-by-task";

/// Who puts back what was put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The thread of zenoh's that brings it: the least that there can be.
    Zenoh,
    /// A task, to which that thread hands it over, as a message is handed to a worker.
    Task,
}

/// A configuration, which is JSON5.
pub(crate) fn config(text: &str) -> Result<Config, BoxError> {
    Config::from_json5(text)
}

/// What Sworm sets, as far as it matters here.
pub(crate) fn settings(id: Option<&str>, listen: Option<&str>, connect: &[String]) -> String {
    let id = id.map(|id| format!("id: {id:?},")).unwrap_or_default();
    format!(
        "{{ {id} mode: \"peer\", listen: {{ endpoints: {:?} }}, connect: {{ endpoints: {connect:?} }}, \
         scouting: {{ multicast: {{ enabled: false }}, gossip: {{ enabled: false }} }}, \
         timestamping: {{ enabled: false }}, transport: {{ link: {{ tx: {{ lease: 2000, keep_alive: 4 }} }} }} }}",
        listen.map(|endpoint| vec![endpoint]).unwrap_or_default(),
    )
}

/// Answers queries, and puts with puts.
pub(crate) async fn echo(text: &str) -> Result<Session, BoxError> {
    let session = ::zenoh::open(config(text)?).await?;
    session
        .declare_queryable(QUERY)
        .callback(|query| {
            let payload = query.payload().cloned().unwrap_or_default();
            let _ = query.reply(QUERY, payload).wait();
        })
        .background()
        .await?;
    let publisher = Arc::new(session.declare_publisher(BACK).congestion_control(CongestionControl::Block).await?);
    session
        .declare_subscriber(THERE)
        .callback({
            let publisher = publisher.clone();
            move |sample| _ = publisher.put(sample.payload().clone()).wait()
        })
        .background()
        .await?;
    let (task, mut handed_over) = mpsc::unbounded_channel();
    session
        .declare_subscriber(THERE_BY_TASK)
        .callback(move |sample| _ = task.send(sample.payload().clone()))
        .background()
        .await?;
    tokio::spawn(async move {
        while let Some(payload) = handed_over.recv().await {
            let _ = publisher.put(payload).await;
        }
    });
    Ok(session)
}

/// One side of a connection to a process that echoes.
pub(crate) struct Caller {
    session: Session,
    waiting: Arc<Waiting>,
}

impl Caller {
    /// Connects, and waits until the other side is heard.
    pub(crate) async fn connect(endpoint: &str) -> Result<Self, BoxError> {
        let session = ::zenoh::open(config(&settings(None, None, &[endpoint.into()]))?).await?;
        let waiting = Arc::new(Waiting::default());
        let answers = waiting.clone();
        session
            .declare_subscriber(BACK)
            .callback(move |sample| answers.answered(&sample.payload().to_bytes()))
            .background()
            .await?;
        let caller = Self { session, waiting };
        for _ in 0..1000 {
            sleep(Duration::from_millis(10)).await;
            let (message, mut answered) = caller.waiting.message();
            caller.session.put(THERE, message).await?;
            sleep(Duration::from_millis(10)).await;
            if answered.try_recv().is_ok() {
                return Ok(caller);
            }
        }
        Err("zenoh's other side is not heard".into())
    }

    /// Asks with queries.
    pub(crate) async fn query(&self, callers: usize, time: Duration) -> Result<Load, BoxError> {
        load(callers, time, |_| {
            let (session, message) = (self.session.clone(), self.waiting.message().0);
            move || {
                let session = session.clone();
                async move {
                    let get = session.get(QUERY).payload(message).consolidation(ConsolidationMode::None);
                    let replies = get.await?;
                    replies.recv_async().await?.into_result().map_err(|error| format!("{error:?}"))?;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Puts, and waits for what is put back.
    pub(crate) async fn put(&self, by: By, callers: usize, time: Duration) -> Result<Load, BoxError> {
        let there = if by == By::Task { THERE_BY_TASK } else { THERE };
        let publisher = self.session.declare_publisher(there).congestion_control(CongestionControl::Block).await?;
        let publisher = Arc::new(publisher);
        load(callers, time, |_| {
            let (publisher, waiting) = (publisher.clone(), self.waiting.clone());
            move || {
                let publisher = publisher.clone();
                let (message, answered) = waiting.message();
                async move {
                    publisher.put(message).await?;
                    Ok(answered.await?)
                }
            }
        })
        .await
    }
}
