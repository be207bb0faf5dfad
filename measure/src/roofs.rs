//! The ceilings of a roofline, measured: how fast rayon's current threads read memory, and multiply int8.

use std::hint::black_box;

use memmap2::MmapMut;
use warpdot_cpu::ceilings::{ProductPeak, read};

use crate::timing::Contender;

/// Reads memory, and does nothing else.
pub struct Reader<'a> {
    memory: &'a Memory,
    next: usize,
}

/// Memory that exceeds the caches, in huge pages where the system gives them.
pub struct Memory(MmapMut);

impl Memory {
    /// At least `bytes` of it.
    ///
    /// # Errors
    /// If there is not so much.
    pub fn new(bytes: usize) -> std::io::Result<Self> {
        let mut memory = MmapMut::map_anon(bytes.next_multiple_of(Reader::CALL))?;
        // It is advice: reading small pages is a little slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        // Not zeros, which would all be one page.
        memory.fill(1);
        Ok(Self(memory))
    }
}

impl<'a> Reader<'a> {
    /// Bytes that a call reads, as many as a matrix of weights has.
    pub const CALL: usize = 32 << 20;

    /// Goes round the memory, a call at a time.
    pub fn new(memory: &'a Memory) -> Self {
        Self { memory, next: 0 }
    }

    /// GB/s, where a call takes `seconds`.
    pub fn rate(seconds: f64) -> f64 {
        Self::CALL as f64 / seconds / 1e9
    }
}

impl Contender for Reader<'_> {
    fn call(&mut self) {
        let parts = self.memory.0.len() / Self::CALL;
        let part = &self.memory.0[self.next % parts * Self::CALL..][..Self::CALL];
        black_box(read(bytemuck::cast_slice(part)));
        self.next += 1;
    }
}

/// Multiplies int8 in the registers of every thread, by the most capable instruction that there is.
pub struct Multiplier(ProductPeak);

impl Multiplier {
    const ROUNDS: usize = 1 << 20;

    /// `None` on CPUs for which no such instruction is known here.
    pub fn new() -> Option<Self> {
        ProductPeak::available().first().copied().map(Self)
    }

    /// The instruction set.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// GOP/s of so many threads, where a call takes `seconds`.
    pub fn rate(&self, threads: usize, seconds: f64) -> f64 {
        (threads * self.0.operations(Self::ROUNDS)) as f64 / seconds / 1e9
    }
}

impl Contender for Multiplier {
    fn call(&mut self) {
        rayon::broadcast(|_| black_box(self.0.run(black_box(Self::ROUNDS))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_round() {
        let memory = Memory::new(Reader::CALL + 1).unwrap();
        assert_eq!(memory.0.len(), 2 * Reader::CALL);
        let mut reader = Reader::new(&memory);
        (0..3).for_each(|_| reader.call());
        assert_eq!((reader.next, Reader::rate(0.5)), (3, 0.067108864));
    }

    #[test]
    fn threads_multiply_side_by_side() {
        let Some(mut multiplier) = Multiplier::new() else { return };
        multiplier.call();
        // To double is exact, to triple is not.
        assert_eq!(multiplier.rate(4, 1.0), 4.0 * multiplier.rate(1, 1.0));
    }
}
