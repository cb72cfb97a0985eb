//! Carries out the commands that need to know a worker type.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use sworm::prelude::*;
use sworm::{CallError, Explanation, RegisterError};
use sworm_tests::protocol::{Failure, Kind, Say, TypedCommand};
use sworm_tests::server::{Typed, call_failure, failure, json, missing};

use crate::held::Held;
use crate::merging::Merging;
use crate::rough::Rough;
use crate::workers::*;

/// How many registrations or calls of one command are under way at once.
const AT_A_TIME: usize = 200;
/// How long a registration or a call may take that is not told otherwise: less than a command, and longer than the library
/// gives it, which is not enough on a busy machine.
const LONG: Duration = Duration::from_secs(40);

/// A sworm, a name and a worker type.
type Key = (String, String, &'static str);

/// The references that were handed out: a name that is gone can still be called.
#[derive(Default)]
pub(crate) struct Types {
    refs: Mutex<HashMap<Key, Box<dyn std::any::Any + Send>>>,
}

macro_rules! with_type {
    ($kind:expr, $worker:ident => $do:expr) => {
        match $kind {
            Kind::Counter => {
                type $worker = Counter;
                $do
            }
            Kind::Temporary => {
                type $worker = Temporary;
                $do
            }
            Kind::Permanent => {
                type $worker = Permanent;
                $do
            }
            Kind::NoHandoff => {
                type $worker = NoHandoff;
                $do
            }
            Kind::Broken => {
                type $worker = Broken;
                $do
            }
            Kind::Slow => {
                type $worker = Slow;
                $do
            }
            Kind::Gated => {
                type $worker = Gated;
                $do
            }
            Kind::Moody => {
                type $worker = Moody;
                $do
            }
            Kind::Newer => {
                type $worker = Newer;
                $do
            }
            Kind::Held => {
                type $worker = Held;
                $do
            }
            Kind::Twice => {
                type $worker = Twice;
                $do
            }
            Kind::Fast => {
                type $worker = Fast;
                $do
            }
            Kind::Each => {
                type $worker = Each;
                $do
            }
            Kind::EachLocal => {
                type $worker = EachLocal;
                $do
            }
            Kind::Local => {
                type $worker = Local;
                $do
            }
            Kind::Paced => {
                type $worker = Paced;
                $do
            }
            Kind::EveryFive => {
                type $worker = EveryFive;
                $do
            }
            Kind::TwoReplicas => {
                type $worker = TwoReplicas;
                $do
            }
            Kind::Merging => {
                type $worker = Merging;
                $do
            }
            Kind::Rough => {
                type $worker = Rough;
                $do
            }
        }
    };
}

impl Typed for Types {
    async fn explain(&self, sworm: Sworm, kind: Kind, name: String) -> Explanation {
        with_type!(kind, W => sworm.explain_as::<W>(name).await)
    }

    async fn typed(&self, sworm: Sworm, command: TypedCommand) -> Result<Value, Failure> {
        match command {
            TypedCommand::Register { kind, name, value, on, within_ms, metadata } => with_type!(kind, W => {
                let mut registering = sworm.register(&name, W::new(value));
                if let Some(node) = on {
                    registering = registering.on(node);
                }
                registering = registering.timeout(within_ms.map_or(LONG, Duration::from_millis));
                for (key, value) in metadata {
                    registering = registering.metadata(key, value);
                }
                let registered = registering.await.map_err(register_failure)?;
                json(self.keep::<W>(registered, &sworm).pid())
            }),
            TypedCommand::Race { name, values } => {
                let all = values.into_iter().map(|value| {
                    let (sworm, name) = (sworm.clone(), name.clone());
                    // Tasks of their own, so that they really run at once.
                    tokio::spawn(async move { sworm.register(name, Counter::new(value)).timeout(LONG).await })
                });
                let all: Vec<_> = all.collect();
                let mut results: Vec<Result<Pid, Failure>> = Vec::new();
                for one in all {
                    let result = one.await.expect("it does not panic");
                    results.push(result.map(|found| found.pid()).map_err(register_failure));
                }
                json(results)
            }
            TypedCommand::RegisterAll { kind, names } => with_type!(kind, W => {
                let all = futures_util::stream::iter(names).map(|name| {
                    let sworm = sworm.clone();
                    async move {
                        let error = sworm.register(&name, W::new(0)).timeout(LONG).await.err()?;
                        Some((name, register_failure(error)))
                    }
                });
                json(all.buffer_unordered(AT_A_TIME).filter_map(std::future::ready).collect::<Vec<_>>().await)
            }),
            TypedCommand::AddAll { kind, names, n } => with_type!(kind, W => {
                let all = futures_util::stream::iter(names).map(|name| {
                    let to = self.reference::<W>(&sworm, &name);
                    async move {
                        let total = match to {
                            Ok(to) => to.call(Add(n)).timeout(LONG).await.map_err(call_failure),
                            Err(missing) => Err(missing),
                        };
                        (name, total)
                    }
                });
                json(all.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await)
            }),
            TypedCommand::FindTyped { kind, name } => with_type!(kind, W => {
                json(sworm.whereis_name::<W>(name).map(|found| self.keep(found, &sworm).pid()))
            }),
            TypedCommand::FindOrRegister { kind, name, value } => with_type!(kind, W => {
                let found = sworm.whereis_or_register_name(name, || W::new(value)).await.map_err(register_failure)?;
                json(self.keep(found, &sworm).pid())
            }),
            TypedCommand::Call { kind, name, say, within_ms } => with_type!(kind, W => {
                let to = self.reference::<W>(&sworm, &name)?;
                let within = Duration::from_millis(within_ms.unwrap_or(20_000));
                call::<W>(&to, say, within).await.map_err(call_failure)
            }),
            TypedCommand::Cast { kind, name, say } => with_type!(kind, W => {
                let to = self.reference::<W>(&sworm, &name)?;
                cast::<W>(&to, say).await.map_err(call_failure)?;
                json(())
            }),
            TypedCommand::Join { kind, group, name } => with_type!(kind, W => {
                json(sworm.join(group, &self.reference::<W>(&sworm, &name)?).await.map_err(failure)?)
            }),
            TypedCommand::LeaveGroup { kind, group, name } => with_type!(kind, W => {
                json(sworm.leave(group, &self.reference::<W>(&sworm, &name)?).await.map_err(failure)?)
            }),
            TypedCommand::AddToGroup { group, n } => {
                let replies = sworm.multi_call(group, Add(n)).timeout(Duration::from_secs(20)).await;
                let totals = replies.into_iter().map(|(member, total)| (member.name, total.map_err(call_failure)));
                json(totals.collect::<Vec<_>>())
            }
            TypedCommand::PublishToGroup { group, n } => {
                json(sworm.publish(group, Add(n)).await.map_err(call_failure)?)
            }
        }
    }
}

impl Types {
    fn keep<W: Worker>(&self, found: Ref<W>, sworm: &Sworm) -> Ref<W> {
        let key = (sworm.name().to_owned(), found.name().to_owned(), W::NAME);
        self.refs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Box::new(found.clone()));
        found
    }

    fn reference<W: Worker>(&self, sworm: &Sworm, name: &str) -> Result<Ref<W>, Failure> {
        if let Some(found) = sworm.whereis_name::<W>(name) {
            return Ok(self.keep(found, sworm));
        }
        let key = (sworm.name().to_owned(), name.to_owned(), W::NAME);
        let refs = self.refs.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = refs.get(&key).and_then(|kept| kept.downcast_ref::<Ref<W>>()).cloned();
        kept.ok_or_else(|| missing("a reference to that name"))
    }
}

fn register_failure(error: RegisterError) -> Failure {
    let pid = match &error {
        RegisterError::AlreadyRegistered { pid, .. } => Some(pid.clone()),
        _ => None,
    };
    let unknown =
        matches!(error, RegisterError::Timeout { .. } | RegisterError::Stopped | RegisterError::NodeFailed { .. });
    Failure { pid, unknown, ..failure(error) }
}

async fn call<W>(to: &Ref<W>, say: Say, within: Duration) -> Result<Value, CallError>
where
    W: Worker,
    Add: sworm::Request<W>,
    AddDurable: sworm::Request<W>,
    Get: sworm::Request<W>,
    Where: sworm::Request<W>,
    Crash: sworm::Request<W>,
    Fail: sworm::Request<W>,
    Stop: sworm::Request<W>,
    Sleep: sworm::Request<W>,
    Block: sworm::Request<W>,
    Wait: sworm::Request<W>,
{
    let total = match say {
        Say::Where => return Ok(to.call(Where).timeout(within).await?.into()),
        Say::Add(n) => to.call(Add(n)).timeout(within).await?,
        Say::AddDurable(n) => to.call(AddDurable(n)).timeout(within).await?,
        Say::Get => to.call(Get).timeout(within).await?,
        Say::Crash => to.call(Crash).timeout(within).await?,
        Say::Fail => to.call(Fail).timeout(within).await?,
        Say::Stop => to.call(Stop).timeout(within).await?,
        Say::Sleep(ms) => to.call(Sleep(ms)).timeout(within).await?,
        Say::Block => to.call(Block).timeout(within).await?,
        Say::Wait => to.call(Wait).timeout(within).await?,
    };
    Ok(total.into())
}

async fn cast<W>(to: &Ref<W>, say: Say) -> Result<(), CallError>
where
    W: Worker,
    Add: sworm::Request<W>,
    Sleep: sworm::Request<W>,
    Block: sworm::Request<W>,
    Wait: sworm::Request<W>,
{
    match say {
        Say::Add(n) => to.cast(Add(n)).await,
        Say::Block => to.cast(Block).await,
        Say::Sleep(ms) => to.cast(Sleep(ms)).await,
        Say::Wait => to.cast(Wait).await,
        other => panic!("{other:?} is not cast in these tests"),
    }
}
