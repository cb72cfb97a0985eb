//! The plugins that are linked into this program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::core::membership::Linked;
use crate::store::StoreFactory;
use crate::strategy::{Distribution, Restart};
use crate::worker::WorkerTypes;

/// One entry of the inventory, written by [`plugin!`](crate::plugin!).
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct Plugin {
    pub name: &'static str,
    pub kind: PluginKind,
    pub at: Place,
}

#[derive(Clone, Copy)]
#[doc(hidden)]
pub enum PluginKind {
    Restart(&'static dyn Restart),
    Distribution(&'static dyn Distribution),
    Store(&'static dyn StoreFactory),
}

/// Where in the source something was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: &'static str,
    /// The line.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

inventory::collect!(Plugin);

/// Registers a strategy or a kind of store under a name, from any crate:
///
/// ```
/// use sworm::prelude::*;
/// use sworm::{Exit, Restart, RestartDecision, RestartHistory};
///
/// struct Never;
///
/// impl Restart for Never {
///     fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
///         RestartDecision::Remove
///     }
/// }
///
/// sworm::plugin!(dyn Restart, "never", Never);
/// # fn main() {}
/// ```
///
/// The value is a constant expression. The kinds are `dyn Restart` and `dyn Distribution`, for attributes and settings, and
/// `dyn StoreFactory`, for [`NodeBuilder::store_plugin`](crate::NodeBuilder::store_plugin). A program that uses a plugin crate by
/// name only must say `use the_crate as _;`, else the linker leaves it out.
///
/// What is linked (worker types, strategies and kinds of stores) is in the log when a node starts, and in
/// [`Member::linked`](crate::Member::linked) on all others. Two plugins of one kind and one name are a [`StartError`](crate::StartError) that names both places; so is a name that is not linked,
/// with a list of those that are.
#[macro_export]
macro_rules! plugin {
    (dyn Restart, $name:literal, $value:expr $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Plugin {
                name: $name,
                kind: $crate::__private::PluginKind::Restart(&$value),
                at: $crate::__private::Place { file: ::core::file!(), line: ::core::line!() },
            }
        }
    };
    (dyn Distribution, $name:literal, $value:expr $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Plugin {
                name: $crate::__private::distribution_name($name),
                kind: $crate::__private::PluginKind::Distribution(&$value),
                at: $crate::__private::Place { file: ::core::file!(), line: ::core::line!() },
            }
        }
    };
    (dyn StoreFactory, $name:literal, $value:expr $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Plugin {
                name: $name,
                kind: $crate::__private::PluginKind::Store(&$value),
                at: $crate::__private::Place { file: ::core::file!(), line: ::core::line!() },
            }
        }
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "write `sworm::plugin!(dyn Restart, \"name\", VALUE)`, or the same with `dyn Distribution` or `dyn StoreFactory`"
        );
    };
}

/// What the names made for strategies that are given by value begin with.
const OF_A_TYPE: &str = "value:";
const OF_A_SWORM: &str = "value of sworm:";

/// The name of a distribution strategy that a worker type gives by value: every node that links the type knows it.
pub(crate) fn of_a_type(worker_type: &str) -> String {
    format!("{OF_A_TYPE}{worker_type}")
}

/// The name of one that a sworm gives by value.
pub(crate) fn of_a_sworm(sworm: &str) -> String {
    format!("{OF_A_SWORM}{sworm}")
}

const fn is_of_a_value(name: &str) -> bool {
    starts_with(name, OF_A_TYPE) || starts_with(name, OF_A_SWORM)
}

const fn starts_with(name: &str, start: &str) -> bool {
    let (name, start) = (name.as_bytes(), start.as_bytes());
    let mut at = 0;
    while at < start.len() {
        if at >= name.len() || name[at] != start[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The name of a plugin, which is none of those that are made for strategies given by value: it would hide one of them, or
/// be hidden by it.
#[doc(hidden)]
pub const fn distribution_name(name: &'static str) -> &'static str {
    assert!(
        !is_of_a_value(name),
        "names of strategies that are given by value begin with \"value:\" or \"value of sworm:\""
    );
    name
}

/// The linked strategies by name.
#[derive(Clone, Default)]
pub struct Strategies {
    restart: BTreeMap<&'static str, (&'static dyn Restart, Place)>,
    distribution: BTreeMap<Cow<'static, str>, (&'static dyn Distribution, Place)>,
}

/// Two plugins of one kind have one name.
#[derive(Clone, Copy, Debug)]
pub struct Duplicate {
    /// The name.
    pub name: &'static str,
    /// Where it was registered first.
    pub first: Place,
    /// Where again.
    pub second: Place,
}

impl Strategies {
    /// Collects everything that is linked.
    pub fn linked() -> Result<Self, Duplicate> {
        Self::collect(inventory::iter::<Plugin>.into_iter().copied())
    }

    fn collect(plugins: impl Iterator<Item = Plugin>) -> Result<Self, Duplicate> {
        let mut all = Self::default();
        for plugin in plugins {
            let earlier = match plugin.kind {
                PluginKind::Store(_) => None,
                PluginKind::Restart(value) => all.restart.insert(plugin.name, (value, plugin.at)).map(|e| e.1),
                PluginKind::Distribution(value) => {
                    all.distribution.insert(plugin.name.into(), (value, plugin.at)).map(|e| e.1)
                }
            };
            if let Some(first) = earlier {
                return Err(Duplicate { name: plugin.name, first, second: plugin.at });
            }
        }
        Ok(all)
    }

    /// The restart strategy of that name.
    pub(crate) fn restart(&self, name: &str) -> Option<&'static dyn Restart> {
        self.restart.get(name).map(|entry| entry.0)
    }

    /// The distribution strategy of that name.
    pub(crate) fn distribution(&self, name: &str) -> Option<&'static dyn Distribution> {
        self.distribution.get(name).map(|entry| entry.0)
    }

    /// Adds a strategy that was given by value, under a name made for it.
    pub(crate) fn add_distribution(&mut self, name: String, value: &'static dyn Distribution) {
        let here = Place { file: file!(), line: line!() };
        self.distribution.insert(name.into(), (value, here));
    }

    /// The names of all restart strategies, sorted.
    pub(crate) fn restart_names(&self) -> Vec<String> {
        self.restart.keys().map(|name| (*name).to_owned()).collect()
    }

    /// The names of all distribution strategies, sorted, but those made for strategies that were given by value.
    pub(crate) fn distribution_names(&self) -> Vec<String> {
        self.distribution.keys().filter(|name| !is_of_a_value(name)).map(|name| name.to_string()).collect()
    }
}

/// The linked kinds of stores by name.
#[derive(Clone, Default)]
pub(crate) struct Stores(BTreeMap<&'static str, (&'static dyn StoreFactory, Place)>);

impl Stores {
    /// Collects everything that is linked.
    pub(crate) fn linked() -> Result<Self, Duplicate> {
        Self::collect(inventory::iter::<Plugin>.into_iter().copied())
    }

    fn collect(plugins: impl Iterator<Item = Plugin>) -> Result<Self, Duplicate> {
        let mut all = Self::default();
        for plugin in plugins {
            if let PluginKind::Store(value) = plugin.kind
                && let Some((_, first)) = all.0.insert(plugin.name, (value, plugin.at))
            {
                return Err(Duplicate { name: plugin.name, first, second: plugin.at });
            }
        }
        Ok(all)
    }

    /// The kind of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&'static dyn StoreFactory> {
        self.0.get(name).map(|entry| entry.0)
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
}

/// How many names of each kind nodes tell each other.
const MAX_LISTED: usize = 256;

/// What a node tells the others about itself.
pub(crate) fn linked(types: &WorkerTypes, strategies: &Strategies) -> Linked {
    let few = |names: Vec<String>| names.into_iter().take(MAX_LISTED).collect();
    Linked {
        worker_types: few(types.iter().map(|worker| worker.name().to_owned()).collect()),
        restart: few(strategies.restart_names()),
        distribution: few(strategies.distribution_names()),
        // A node with two of one name has not started.
        stores: few(Stores::linked().map(|stores| stores.names()).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Random, Temporary};

    #[test]
    fn built_in_strategies_are_linked() {
        let all = Strategies::linked().expect("no duplicates");
        assert_eq!(all.restart_names(), ["permanent", "temporary", "transient"]);
        assert!(all.distribution("rendezvous").is_some());
        assert!(all.restart("rendezvous").is_none());
    }

    #[test]
    fn a_duplicate_names_both_places() {
        for kind in [PluginKind::Restart(&Temporary), PluginKind::Distribution(&Random)] {
            let plugin = |line| Plugin { name: "twice", kind, at: Place { file: "x.rs", line } };
            let error = Strategies::collect([plugin(1), plugin(2)].into_iter()).err().expect("refused");
            assert_eq!((error.name, error.first.line, error.second.line), ("twice", 1, 2));
        }
    }

    #[test]
    fn a_strategy_by_value_is_not_listed_and_a_plugin_is_whatever_its_name_and_none_takes_the_names_of_the_others() {
        let at = Place { file: "x.rs", line: 1 };
        let plugin = |name| Plugin { name: distribution_name(name), kind: PluginKind::Distribution(&Random), at };
        let names = ["value", "value of", "value-weighted", "valued"];
        let mut all = Strategies::collect(names.into_iter().map(plugin)).expect("no two have one name");
        let made = [of_a_type("cart"), of_a_sworm("s")];
        made.iter().for_each(|name| all.add_distribution(name.clone(), &Random));
        assert_eq!(all.distribution_names(), names);
        for name in made {
            assert!(all.distribution(&name).is_some());
            let refused = std::panic::catch_unwind(|| distribution_name(name.leak()));
            assert!(refused.is_err(), "it would not compile");
        }
    }

    #[test]
    fn two_kinds_of_stores_with_one_name_are_refused_with_both_places() {
        let kind = PluginKind::Store(Stores::linked().expect("no duplicates").get("sled").expect("it is linked"));
        let plugin = |line| Plugin { name: "twice", kind, at: Place { file: "x.rs", line } };
        let error = Stores::collect([plugin(1), plugin(2)].into_iter()).err().expect("refused");
        assert_eq!((error.name, error.first.line, error.second.line), ("twice", 1, 2));
        // A strategy of that name is another thing.
        let strategy = Plugin { kind: PluginKind::Restart(&Temporary), ..plugin(3) };
        assert_eq!(Stores::collect([plugin(1), strategy].into_iter()).expect("two kinds").names(), ["twice"]);
        assert!(Strategies::collect([plugin(1), strategy].into_iter()).is_ok());
    }
}
