//! A buffer that grows up to a limit, or is cut into chunks of which only some are kept.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Takes the bytes of an encoded value. Of one that has more than it may have no bytes are kept: they are counted only.
pub struct Limited {
    /// All of them, or those of the chunk that is being filled.
    bytes: Vec<u8>,
    count: usize,
    limit: usize,
    keep: Keep,
    cutting: Option<Box<Cutting>>,
}

/// What is kept of a value that is not too large.
enum Keep {
    All,
    /// These bytes of it.
    Part(Range<usize>),
    /// It is cut into chunks of so many bytes, of which these are kept.
    Chunks(usize, Range<usize>),
}

/// What is known of the chunks that are full.
#[derive(Default)]
struct Cutting {
    sums: Vec<u64>,
    all: Xxh3,
    kept: Vec<Bytes>,
}

/// An encoded value: whole if it has one chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole(Vec<u8>),
    /// One that has several.
    Chunks {
        /// How many bytes it has.
        length: usize,
        /// xxh3 of the whole.
        checksum: u64,
        /// xxh3 of each chunk.
        sums: Vec<u64>,
        /// The chunks that were to be kept.
        kept: Vec<Bytes>,
    },
}

impl Limited {
    /// One for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(limit.min(64)), count: 0, limit, keep: Keep::All, cutting: None }
    }

    /// One without a limit.
    pub fn none() -> Self {
        Self::new(usize::MAX)
    }

    /// One that is cut into chunks of so many bytes; these of them are kept.
    pub(crate) fn cut(limit: usize, chunk: usize, keep: Range<usize>) -> Self {
        Self { limit, keep: Keep::Chunks(chunk, keep), ..Self::new(limit.min(chunk)) }
    }

    /// One that keeps these bytes of a value and counts the others.
    pub(crate) fn part(limit: usize, keep: Range<usize>) -> Self {
        Self {
            bytes: Vec::with_capacity(keep.len().min(limit)),
            count: 0,
            limit,
            keep: Keep::Part(keep),
            cutting: None,
        }
    }

    /// How many bytes there were.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// All bytes, or the part that was to be kept; or how many there were, if that is too many.
    pub fn into_bytes(self) -> Result<Vec<u8>, usize> {
        if self.count <= self.limit { Ok(self.bytes) } else { Err(self.count) }
    }

    /// The value as it was cut; or how many bytes there were, if that is too many.
    pub(crate) fn into_cut(mut self) -> Result<Cut, usize> {
        if self.count > self.limit {
            return Err(self.count);
        }
        if self.cutting.is_none() {
            return Ok(Cut::Whole(self.bytes));
        }
        self.close();
        let Cutting { sums, all, kept } = *self.cutting.unwrap_or_default();
        Ok(Cut::Chunks { length: self.count, checksum: all.digest(), sums, kept })
    }

    /// Makes room for so many bytes in all, twice as much as there was or as may be.
    #[cold]
    fn grow(&mut self, bytes: usize) {
        let most = match &self.keep {
            Keep::All => self.limit,
            Keep::Part(part) => self.limit.min(part.len()),
            Keep::Chunks(chunk, _) => self.limit.min(*chunk),
        };
        let room = self.bytes.capacity().saturating_mul(2).min(most).max(bytes);
        self.bytes.reserve_exact(room - self.bytes.len());
    }

    fn add(&mut self, bytes: &[u8]) {
        let filled = self.bytes.len() + bytes.len();
        if filled > self.bytes.capacity() {
            self.grow(filled);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds what does not fit into the chunk that is being filled.
    fn add_beyond(&mut self, mut bytes: &[u8], chunk: usize) {
        while let Some((first, rest)) =
            bytes.split_at_checked(chunk - self.bytes.len()).filter(|(_, rest)| !rest.is_empty())
        {
            self.add(first);
            self.close();
            bytes = rest;
        }
        self.add(bytes);
    }

    /// The chunk is full, or is the last one.
    fn close(&mut self) {
        let cutting = self.cutting.get_or_insert_default();
        let is_kept = matches!(&self.keep, Keep::Chunks(_, keep) if keep.contains(&cutting.sums.len()));
        cutting.sums.push(xxh3_64(&self.bytes));
        cutting.all.update(&self.bytes);
        if is_kept {
            cutting.kept.push(std::mem::take(&mut self.bytes).into());
        } else {
            self.bytes.clear();
        }
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let from = self.count;
        self.count = self.count.saturating_add(bytes.len());
        if self.count > self.limit {
            (self.bytes, self.cutting) = (Vec::new(), None);
            return Ok(bytes.len());
        }
        match &self.keep {
            Keep::All => self.add(bytes),
            Keep::Part(part) => {
                let [start, end] = [part.start, part.end].map(|at| at.clamp(from, self.count) - from);
                self.add(&bytes[start..end]);
            }
            Keep::Chunks(chunk, _) if self.bytes.len() + bytes.len() > *chunk => self.add_beyond(bytes, *chunk),
            Keep::Chunks(..) => self.add(bytes),
        }
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_does_not_is_only_counted() {
        for (limit, kept) in [(0, false), (2_999, false), (3_000, true), (3_001, true), (usize::MAX, true)] {
            let mut to = Limited::new(limit);
            let mut most = 0;
            for part in [[1; 1_000], [2; 1_000], [3; 1_000]] {
                to.write_all(&part).expect("it never fails");
                most = most.max(to.bytes.capacity());
            }
            assert!(most <= limit.min(4_000), "{most} bytes of {limit}");
            assert_eq!(to.bytes.capacity() > 0, kept);
            let bytes = to.into_bytes();
            assert_eq!(bytes.map(|bytes| bytes.len()), if kept { Ok(3_000) } else { Err(3_000) });
        }
    }

    #[test]
    fn what_has_one_chunk_is_whole_and_of_more_those_are_kept_that_are_wanted() {
        let value: Vec<u8> = (0..=255).cycle().take(95).collect();
        for (bytes, step) in [(1, 1), (9, 4), (10, 3), (10, 10), (11, 11), (20, 7), (95, 1), (95, 30), (95, 95)] {
            let value = &value[..bytes];
            for keep in [0..0, 0..2, 1..3, 8..20, 0..usize::MAX] {
                let mut to = Limited::cut(95, 10, keep.clone());
                for part in value.chunks(step) {
                    to.write_all(part).expect("it never fails");
                    assert!(to.bytes.capacity() <= 10, "one chunk at a time");
                }
                let cut = to.into_cut().expect("it is not too large");
                if bytes <= 10 {
                    assert_eq!(cut, Cut::Whole(value.to_vec()));
                    continue;
                }
                let wanted = |(index, _): &(usize, _)| keep.contains(index);
                let expected = Cut::Chunks {
                    length: bytes,
                    checksum: xxh3_64(value),
                    sums: value.chunks(10).map(xxh3_64).collect(),
                    kept: value.chunks(10).enumerate().filter(wanted).map(|(_, b)| Bytes::copy_from_slice(b)).collect(),
                };
                assert_eq!(cut, expected, "{bytes} bytes, {step} at a time");
            }
        }
    }

    #[test]
    fn a_part_is_kept_and_the_rest_is_counted() {
        let value: Vec<u8> = (0..95).collect();
        for step in [1, 7, 95] {
            for part in [0..0, 0..10, 20..30, 90..100, 95..100, 0..95] {
                let mut to = Limited::part(95, part.clone());
                for bytes in value.chunks(step) {
                    to.write_all(bytes).expect("it never fails");
                }
                assert!(to.count() == 95 && to.bytes.capacity() <= part.len().max(1));
                assert_eq!(to.into_bytes(), Ok(value[part.start..part.end.min(95)].to_vec()));
            }
        }
    }

    #[test]
    fn what_is_cut_has_a_limit_too() {
        let mut to = Limited::cut(25, 10, 0..9);
        for _ in 0..3 {
            to.write_all(&[7; 9]).expect("it never fails");
        }
        assert!(to.bytes.capacity() == 0 && to.cutting.is_none(), "nothing is kept of it");
        assert_eq!(to.into_cut(), Err(27));
    }
}
