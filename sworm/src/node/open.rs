//! Opens a sworm on a node: settles the settings of its worker types and starts its driver.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::disk::Disk;
use super::driver::{self, Driver};
use super::frame::Frame;
use super::lease::{self, Lease};
use super::sworm::{HostedType, Opened, Senders, Settings, SwormShared};
use super::{Introduction, NodeShared, random_u32, sworm_hash, unix_ms};
use crate::api::{Ack, SwormSpec};
use crate::core::chunks::CHUNK_BYTES;
use crate::core::ids::{MAX_LABEL_BYTES, Peer};
use crate::core::membership::MemberState;
use crate::core::message::Message;
use crate::core::transfer::PART_BYTES;
use crate::core::{Config, Core, Input, Now};
use crate::error::{OpenError, StartError};
use crate::panics;
use crate::plugin::{Strategies, of_a_sworm, of_a_type};
use crate::strategy::{Restart, Strategy};
use crate::transport::Class;
use crate::worker::WorkerTypes;

pub(crate) const DEFAULT_RESTART: &str = "transient";
pub(crate) const DEFAULT_DISTRIBUTION: &str = "rendezvous";
const DEFAULT_REPLICAS: u8 = 1;
const DEFAULT_MAILBOX: usize = 1024;
const DEFAULT_START_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Adds the strategies that worker types give by value, and checks that those given by name are linked.
pub(crate) fn settle(types: &WorkerTypes, mut strategies: Strategies) -> Result<Strategies, StartError> {
    for worker in types.iter() {
        let options = worker.options();
        let unknown = |kind, name: &str, known| StartError::UnknownStrategy {
            worker_type: worker.name().to_owned(),
            kind,
            name: name.to_owned(),
            known,
        };
        match options.distribution {
            Some(Strategy::Named(name)) if strategies.distribution(name).is_none() => {
                return Err(unknown("distribution", name, strategies.distribution_names()));
            }
            Some(Strategy::Value(value)) => strategies.add_distribution(of_a_type(worker.name()), value),
            _ => {}
        }
        if let Some(Strategy::Named(name)) = options.restart
            && strategies.restart(name).is_none()
        {
            return Err(unknown("restart", name, strategies.restart_names()));
        }
    }
    Ok(strategies)
}

/// Opens a sworm, or gives the one that is open.
pub(crate) fn open(node: &Arc<NodeShared>, spec: &SwormSpec) -> Result<Arc<SwormShared>, OpenError> {
    if !(1..=MAX_LABEL_BYTES).contains(&spec.name.len()) {
        return Err(OpenError::BadName { name: spec.name.clone() });
    }
    spec.check()?;
    if node.has_stopped() {
        return Err(node.stopped_as(OpenError::Stopped, |reason| OpenError::NodeFailed { reason }));
    }
    let hash = sworm_hash(&spec.name);
    let (agreed, settings): (Arc<str>, String) = (spec.agreed().into(), spec.settings());
    let mut sworms = node.sworms();
    if let Some(open) = sworms.get(&hash) {
        if spec.by_name || open.settings.text == settings {
            return Ok(open.clone());
        }
        return Err(OpenError::Disagreed {
            sworm: spec.name.clone(),
            node: node.me.node.clone(),
            theirs: open.settings.text.clone(),
            ours: settings,
        });
    }
    let mut strategies = node.strategies.clone();
    let (types, distribution) = hosted_types(node, spec, &mut strategies)?;
    let (disk, recovered) = Disk::open(node.store.clone(), &spec.name, node.losses)?;
    let (inputs, inputs_receiver) = mpsc::unbounded_channel();
    let (unread, unread_receiver) = mpsc::unbounded_channel();
    let (looks, looks_receiver) = mpsc::unbounded_channel();
    let (opened, opened_receiver) = watch::channel(Opened::Joining);
    let (syncs, syncs_receiver) = mpsc::unbounded_channel();
    let name: Arc<str> = spec.name.as_str().into();
    let majority = spec.rules();
    let config = Config {
        sworm: name.clone(),
        me: node.me.clone(),
        agreed: agreed.clone(),
        unusual: spec.unusual().map(Into::into),
        ack_in_memory: spec.ack == Ack::Memory,
        hosts: if node.hosts {
            types.values().map(|t| (t.worker.name().into(), t.worker.version())).collect()
        } else {
            BTreeMap::new()
        },
        interval_ms: u64::try_from(spec.sync_interval.as_millis()).unwrap_or(u64::MAX),
        grace_ms: super::GRACE_MS,
        recover_wait_ms: node.recover_wait_ms,
        state_wait_ms: spec.state_wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        part_bytes: PART_BYTES,
        chunk_bytes: CHUNK_BYTES,
        restart: types.values().map(|t| (t.worker.name().into(), t.restart)).collect(),
        strategies,
        rebalance: spec.rebalance,
        majority,
        profile: node.profile.clone(),
    };
    let now = Now { mono_ms: node.mono_ms(), unix_ms: unix_ms(), random: random_u32() };
    let core = Core::new(config, recovered, now);
    let senders = Senders { inputs, unread, looks };
    let settings = Settings { text: settings, distribution, rebalance: spec.rebalance };
    let lease = Arc::new(Lease::new(majority));
    let shared = SwormShared::new(node.clone(), name, settings, types, senders, lease, opened_receiver);
    lease::watch(&shared);
    sworms.insert(hash, shared.clone());
    // From here on what comes and goes is told to it; what is there already is told now.
    for (id, known) in node.membership().known() {
        if let (MemberState::Up | MemberState::Suspect, Some(hello)) = (known.state, &known.hello) {
            let peer = Peer { node: id.clone(), incarnation: known.incarnation };
            shared.input(Input::Present { peer, profile: hello.profile.clone() });
        }
    }
    if *node.introduced.borrow() == Introduction::Done {
        shared.input(Input::Introduced);
    }
    if let Some(call) = node.drains.call() {
        shared.input(Input::Drain(Some(call)));
    }
    drop(sworms);
    let driver = Driver {
        shared: shared.clone(),
        core,
        disk,
        inputs: inputs_receiver,
        unread: unread_receiver,
        looks: looks_receiver,
        opened,
        syncs,
    };
    tokio::spawn(watched(shared.clone(), driver.run()));
    tokio::spawn(driver::sync(shared.clone(), syncs_receiver));
    Ok(shared)
}

/// Without what drives its sworm a node is of no use to the others, and must not look as if it were.
pub(crate) async fn watched(shared: Arc<SwormShared>, driving: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(driving).catch_unwind().await {
        let why = panics::text(&*panic);
        shared.node.fail(&format!("the driver of sworm {:?} panicked: {why}", &*shared.name));
    }
}

/// Ends a sworm that could not be opened, so that it can be opened anew.
pub(crate) async fn close(shared: &Arc<SwormShared>) {
    shared.closing.notify_one();
    // The other end is the driver's: it goes when that has ended.
    let _ = shared.opened.clone().wait_for(|_| false).await;
    let node = &shared.node;
    let mut sworms = node.sworms();
    if !sworms.get(&shared.hash).is_some_and(|open| Arc::ptr_eq(open, shared)) {
        return; // somebody else was faster
    }
    match Frame::Core(shared.hash, node.me.clone(), Box::new(Message::NotOpen)).encode() {
        Ok(frame) => node.broadcast(Class::Important, frame),
        Err(error) => tracing::error!(%error, "a message could not be encoded"),
    }
    sworms.remove(&shared.hash);
}

/// A sworm that was refused and that nobody has closed, since whoever opened it did not wait.
pub(crate) fn refused(node: &NodeShared, name: &str) -> Option<Arc<SwormShared>> {
    let open = node.sworms().get(&sworm_hash(name)).cloned()?;
    let refused = matches!(*open.opened.borrow(), Opened::Disagreed { .. });
    refused.then_some(open)
}

/// Attribute before sworm before default. Also the strategy of workers whose type names none.
fn hosted_types(
    node: &NodeShared,
    spec: &SwormSpec,
    strategies: &mut Strategies,
) -> Result<(BTreeMap<&'static str, HostedType>, Arc<str>), OpenError> {
    let unknown = |kind, name: &str, known| OpenError::UnknownStrategy {
        sworm: spec.name.clone(),
        kind,
        name: name.to_owned(),
        known,
    };
    let restart_of = |strategy: Option<Strategy<dyn Restart>>| match strategy {
        Some(Strategy::Value(value)) => Ok(value),
        Some(Strategy::Named(name)) => {
            node.strategies.restart(name).ok_or_else(|| unknown("restart", name, node.strategies.restart_names()))
        }
        None => Ok(node.strategies.restart(DEFAULT_RESTART).expect("the library links it")),
    };
    let sworms_distribution: Arc<str> = match spec.distribution {
        Some(Strategy::Value(value)) => {
            let name = of_a_sworm(&spec.name);
            strategies.add_distribution(name.clone(), value);
            name.into()
        }
        Some(Strategy::Named(name)) => match strategies.distribution(name) {
            Some(_) => name.into(),
            None => return Err(unknown("distribution", name, strategies.distribution_names())),
        },
        None => DEFAULT_DISTRIBUTION.into(),
    };
    let sworms_restart = restart_of(spec.restart)?;
    let hosted = node.types.iter().map(|worker| {
        let options = worker.options();
        let handoff = options.saving().goes_on() || options.handoff.or(spec.handoff).unwrap_or(false);
        let hosted = HostedType {
            worker,
            in_vain: options.for_states().filter(|_| !handoff),
            restart: match options.restart {
                Some(strategy) => restart_of(Some(strategy))?,
                None => sworms_restart,
            },
            distribution: match options.distribution {
                Some(Strategy::Value(_)) => of_a_type(worker.name()).into(),
                Some(Strategy::Named(name)) => name.into(),
                None => sworms_distribution.clone(),
            },
            handoff,
            saving: options.saving(),
            replicas: options.replicas.unwrap_or(DEFAULT_REPLICAS),
            mailbox: options.mailbox.unwrap_or(DEFAULT_MAILBOX),
            start_timeout: options.start_timeout.unwrap_or(DEFAULT_START_TIMEOUT),
        };
        Ok::<_, OpenError>((worker.name(), hosted))
    });
    Ok((hosted.collect::<Result<_, _>>()?, sworms_distribution))
}
