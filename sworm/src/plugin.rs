//! The plugins that are linked into this program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::strategy::{Distribution, Restart};

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

/// Registers a strategy under a name, from any crate:
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
/// The value is a constant expression. The kinds are `dyn Restart` and `dyn Distribution`. A program that uses a
/// plugin crate by name only must say `use the_crate as _;`, else the linker leaves it out.
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
                name: $name,
                kind: $crate::__private::PluginKind::Distribution(&$value),
                at: $crate::__private::Place { file: ::core::file!(), line: ::core::line!() },
            }
        }
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "write `sworm::plugin!(dyn Restart, \"name\", VALUE)` or `sworm::plugin!(dyn Distribution, \"name\", VALUE)`"
        );
    };
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

    /// The names of all distribution strategies, sorted.
    pub(crate) fn distribution_names(&self) -> Vec<String> {
        self.distribution.keys().filter(|name| !name.starts_with("value")).map(|name| name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Temporary;

    #[test]
    fn built_in_strategies_are_linked() {
        let all = Strategies::linked().expect("no duplicates");
        assert_eq!(all.restart_names(), ["permanent", "temporary", "transient"]);
        assert!(all.distribution("rendezvous").is_some());
        assert!(all.restart("rendezvous").is_none());
    }

    #[test]
    fn a_duplicate_names_both_places() {
        let plugin =
            |line| Plugin { name: "twice", kind: PluginKind::Restart(&Temporary), at: Place { file: "x.rs", line } };
        let error = Strategies::collect([plugin(1), plugin(2)].into_iter()).err().expect("refused");
        assert_eq!((error.name, error.first.line, error.second.line), ("twice", 1, 2));
    }
}
