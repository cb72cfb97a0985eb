//! A map by names that is quick to search however many there are: names are compared by their hashes first, which stand in the
//! map itself, and by their texts, to which one would have to go, only where those are equal.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// What is known by names, in an order that is the same on all machines and means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<T>(BTreeMap<Named, T>);

/// A name with its hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    hash: u64,
    name: Arc<str>,
}

/// What names are compared by.
trait Place {
    fn place(&self) -> (u64, &str);
}

impl Place for Named {
    fn place(&self) -> (u64, &str) {
        (self.hash, &self.name)
    }
}

impl Place for (u64, &str) {
    fn place(&self) -> (u64, &str) {
        *self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl<'a> Borrow<dyn Place + 'a> for Named {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

fn place_of(name: &str) -> (u64, &str) {
    (xxh3_64(name.as_bytes()), name)
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Names<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known of a name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.get(&place_of(name) as &dyn Place)
    }

    /// The same, with the name as it is held here.
    pub fn get_key_value(&self, name: &str) -> Option<(&Arc<str>, &T)> {
        self.0.get_key_value(&place_of(name) as &dyn Place).map(|(named, known)| (&named.name, known))
    }

    /// What is known of a name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.0.get_mut(&place_of(name) as &dyn Place)
    }

    /// Whether something is known of a name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// From now on this is known of a name.
    pub fn insert(&mut self, name: Arc<str>, known: T) -> Option<T> {
        let hash = xxh3_64(name.as_bytes());
        self.0.insert(Named { hash, name }, known)
    }

    /// From now on nothing is known of a name.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.0.remove(&place_of(name) as &dyn Place)
    }

    /// From now on nothing is known.
    #[cfg(test)]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps what is to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Arc<str>, &mut T) -> bool) {
        self.0.retain(|named, known| keep(&named.name, known));
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.0.iter().map(|(named, known)| (&named.name, known))
    }

    /// All of it, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut T)> {
        self.0.iter_mut().map(|(named, known)| (&named.name, known))
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys().map(|named| &named.name)
    }

    /// What is known, of whichever name.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut()
    }

    /// All of it after that name, which need not be there any more, or from it on.
    pub fn from(&self, from: Bound<&str>) -> impl Iterator<Item = (&Arc<str>, &T)> {
        let from = from.map(place_of);
        let from: Bound<&dyn Place> = from.as_ref().map(|place| place as &dyn Place);
        self.0.range::<dyn Place, _>((from, Bound::Unbounded)).map(|(named, known)| (&named.name, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_knows_what_a_map_by_texts_knows(changes in prop::collection::vec((0..40_u8, any::<bool>()), 0..200)) {
            let (mut names, mut texts) = (Names::default(), BTreeMap::<Arc<str>, usize>::new());
            for (number, (name, stays)) in changes.into_iter().enumerate() {
                let name: Arc<str> = format!("n{name}").into();
                let before = if stays {
                    (names.insert(name.clone(), number), texts.insert(name.clone(), number))
                } else {
                    (names.remove(&name), texts.remove(&name))
                };
                prop_assert_eq!(before.0, before.1);
                prop_assert_eq!(names.get(&name), texts.get(&name));
                prop_assert_eq!(names.len(), texts.len());
            }
            let all: BTreeMap<_, _> = names.iter().map(|(name, known)| (name.clone(), *known)).collect();
            prop_assert_eq!(all, texts);
        }
    }

    #[test]
    fn whoever_goes_on_after_the_last_name_sees_each_once_though_that_is_gone_meanwhile() {
        let mut names: Names<()> = Names::default();
        for n in 0..100 {
            names.insert(format!("n{n}").into(), ());
        }
        let all: Vec<Arc<str>> = names.keys().cloned().collect();
        let (mut seen, mut last) = (Vec::new(), None::<Arc<str>>);
        loop {
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let some: Vec<Arc<str>> = names.from(from).take(7).map(|(name, ())| name.clone()).collect();
            let Some(end) = some.last() else { break };
            names.remove(end);
            last = Some(end.clone());
            seen.extend(some);
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn names_with_one_hash_are_told_apart() {
        let name = |name: &str| Named { hash: 7, name: name.into() };
        let both = BTreeMap::from([(name("a"), 1), (name("b"), 2)]);
        assert_eq!(both.get(&(7_u64, "a") as &dyn Place), Some(&1));
        assert_eq!(both.get(&(7_u64, "b") as &dyn Place), Some(&2));
        assert_eq!(both.get(&(7_u64, "c") as &dyn Place), None);
    }
}
