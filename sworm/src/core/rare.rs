//! Parts of a cell that are empty as a rule, or the same in many cells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Takes one word where it is empty, and is shared by clones where it is not.
#[derive(Clone)]
pub struct Rare<T>(Option<Arc<T>>);

/// What [`Rare`] is when there is nothing in it.
pub trait Empty: 'static + Sized {
    /// Nothing.
    const EMPTY: &'static Self;
}

impl<T: 'static> Empty for BTreeSet<T> {
    const EMPTY: &'static Self = &BTreeSet::new();
}

impl<K: 'static, V: 'static> Empty for BTreeMap<K, V> {
    const EMPTY: &'static Self = &BTreeMap::new();
}

impl<T: 'static> Empty for Vec<T> {
    const EMPTY: &'static Self = &Vec::new();
}

impl<T: Empty + PartialEq> Rare<T> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        **self == *T::EMPTY
    }
}

impl<T> Rare<T> {
    /// What is in it, for sharing it with others.
    pub(super) fn content(&mut self) -> Option<&mut Arc<T>> {
        self.0.as_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty + Clone + Default> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl<T: Empty + PartialEq> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Self((value != *T::EMPTY).then(|| Arc::new(value)))
    }
}

impl<T: Empty + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Empty + PartialEq> PartialEq<T> for Rare<T> {
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl<T: Empty + Eq> Eq for Rare<T> {}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Empty + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Empty + PartialEq + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_one_word_however_it_came_about() {
        assert_eq!(size_of::<Rare<Vec<u8>>>(), size_of::<usize>());
        let decoded: Rare<Vec<u8>> =
            crate::codec::decode(&crate::codec::encode(&[0u8; 0]).expect("encodes")).expect("decodes");
        assert!(decoded.0.is_none() && Rare::from(Vec::<u8>::new()).0.is_none());
    }

    #[test]
    fn it_is_its_content_and_a_clone_keeps_its_own() {
        let mut one = Rare::from(vec![1]);
        let two = one.clone();
        one.push(2);
        assert_eq!((&*one, &*two), (&vec![1, 2], &vec![1]));
        one.clear();
        assert!(one.is_empty() && one == Rare::default());
    }
}
