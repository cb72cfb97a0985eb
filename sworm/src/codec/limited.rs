//! A buffer that grows up to a limit.

use std::io;

/// Takes the bytes of an encoded value. Of one that has more than it may have no bytes are kept: they are counted only.
#[derive(Debug)]
pub struct Limited {
    bytes: Vec<u8>,
    count: usize,
    limit: usize,
}

impl Limited {
    /// One for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(limit.min(64)), count: 0, limit }
    }

    /// One without a limit.
    pub fn none() -> Self {
        Self::new(usize::MAX)
    }

    /// All bytes; or how many there were, if that is too many.
    pub fn into_bytes(self) -> Result<Vec<u8>, usize> {
        if self.count <= self.limit { Ok(self.bytes) } else { Err(self.count) }
    }

    /// Makes room for so many bytes in all, twice as much as there was or as may be.
    #[cold]
    fn grow(&mut self, bytes: usize) {
        let room = self.bytes.capacity().saturating_mul(2).min(self.limit).max(bytes);
        self.bytes.reserve_exact(room - self.bytes.len());
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.count = self.count.saturating_add(bytes.len());
        if self.count > self.limit {
            self.bytes = Vec::new();
        } else {
            if self.count > self.bytes.capacity() {
                self.grow(self.count);
            }
            self.bytes.extend_from_slice(bytes);
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
}
