//! What a launch did, in numbers. The numbers are properties of the kernel: they do not depend on the
//! machine that emulates, nor on the number of its threads.

use std::fmt;
use std::ops::AddAssign;

/// The kinds of instructions that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Integer arithmetic, logic, shifts, bit fields.
    Integer,
    /// `dp4a` and `dp2a`.
    DotProduct,
    /// Floating-point arithmetic.
    Float,
    /// `cvt`.
    Convert,
    /// Moves, selections, comparisons.
    Move,
    /// Branches and exits.
    Control,
    /// Loads of kernel parameters.
    Param,
    /// Loads from device memory (and through generic addresses).
    LoadGlobal,
    /// Stores to device memory (and through generic addresses).
    StoreGlobal,
    /// Loads from shared memory.
    LoadShared,
    /// Stores to shared memory.
    StoreShared,
    /// Loads from and stores to local memory: what a real device spills.
    Local,
    /// Atomic instructions.
    Atomic,
    /// Asynchronous copies, their groups and waits.
    AsyncCopy,
    /// Shuffles, votes, matches and reductions in a warp.
    Warp,
    /// Barriers and fences.
    Barrier,
    /// Matrix products and the loads of their fragments.
    Matrix,
}

impl Kind {
    /// Every kind, in the order of its counter.
    pub const ALL: [Kind; 17] = [
        Kind::Integer,
        Kind::DotProduct,
        Kind::Float,
        Kind::Convert,
        Kind::Move,
        Kind::Control,
        Kind::Param,
        Kind::LoadGlobal,
        Kind::StoreGlobal,
        Kind::LoadShared,
        Kind::StoreShared,
        Kind::Local,
        Kind::Atomic,
        Kind::AsyncCopy,
        Kind::Warp,
        Kind::Barrier,
        Kind::Matrix,
    ];

    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::DotProduct => "dot product",
            Kind::Float => "float",
            Kind::Convert => "convert",
            Kind::Move => "move",
            Kind::Control => "control",
            Kind::Param => "parameter",
            Kind::LoadGlobal => "global load",
            Kind::StoreGlobal => "global store",
            Kind::LoadShared => "shared load",
            Kind::StoreShared => "shared store",
            Kind::Local => "local",
            Kind::Atomic => "atomic",
            Kind::AsyncCopy => "async copy",
            Kind::Warp => "warp",
            Kind::Barrier => "barrier",
            Kind::Matrix => "matrix",
        }
    }
}

/// The counters of one kernel, summed over its launches. Of one that broke a rule, only the launch counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// How often it was launched.
    pub launches: u64,
    /// Blocks executed.
    pub blocks: u64,
    /// Instructions issued, once for a warp.
    pub warp_instructions: u64,
    thread_instructions: [u64; Kind::ALL.len()],
    /// Warp-wide accesses to device memory.
    pub global_accesses: u64,
    /// The bytes that their threads asked for.
    pub global_bytes: u64,
    /// The 32-byte sectors that they moved, each counted once for an access.
    pub global_sectors: u64,
    /// The same for accesses of 1, 2, 4, 8 and 16 bytes a thread.
    sectors_of_width: [u64; 5],
    /// Warp-wide accesses to shared memory.
    pub shared_accesses: u64,
    /// The passes over the banks that they took beyond those that their size needs.
    pub bank_conflicts: u64,
}

impl Counters {
    /// Instructions of a kind, once for every thread that executed one.
    pub fn of(&self, kind: Kind) -> u64 {
        self.thread_instructions[kind as usize]
    }

    /// The 32-byte sectors that accesses of `bytes` a thread moved: 1, 2, 4, 8 or 16 bytes.
    pub fn global_sectors_of_width(&self, bytes: u64) -> u64 {
        Self::width(bytes).map_or(0, |width| self.sectors_of_width[width])
    }

    fn width(bytes: u64) -> Option<usize> {
        [1, 2, 4, 8, 16].iter().position(|&width| width == bytes)
    }

    /// All instructions, once for every thread that executed one.
    pub fn thread_instructions(&self) -> u64 {
        self.thread_instructions.iter().sum()
    }

    #[inline(always)]
    pub(crate) fn count(&mut self, kind: Kind, threads: u32) {
        self.warp_instructions += 1;
        self.thread_instructions[kind as usize] += u64::from(threads);
    }

    /// An access to device memory, the addresses of its active lanes given.
    pub(crate) fn global_access(&mut self, mask: u32, addresses: &[u64; 32], bytes: u64) {
        self.global_accesses += 1;
        self.global_bytes += bytes * u64::from(mask.count_ones());
        // Lanes mostly ascend: then counting the changes is enough.
        let (mut sectors, mut last, mut ascending) = (0, u64::MAX, true);
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            let sector = addresses[lane] >> 5;
            if sector != last {
                sectors += 1;
                ascending &= last == u64::MAX || sector > last;
                last = sector;
            }
        }
        if !ascending {
            let mut all: Vec<u64> =
                (0..32).filter(|lane| mask >> lane & 1 != 0).map(|lane| addresses[lane] >> 5).collect();
            all.sort_unstable();
            all.dedup();
            sectors = all.len() as u64;
        }
        self.global_sectors += sectors;
        if let Some(width) = Self::width(bytes) {
            self.sectors_of_width[width] += sectors;
        }
    }

    /// An access to shared memory. Eight-byte accesses take two passes, a half-warp each; sixteen-byte
    /// ones four.
    pub(crate) fn shared_access(&mut self, mask: u32, addresses: &[u64; 32], bytes: u64) {
        self.shared_accesses += 1;
        let words = (bytes / 4).clamp(1, 4);
        let lanes = 32 / words as usize;
        for pass in 0..words as usize {
            let group = pass * lanes..(pass + 1) * lanes;
            let mut first = [u64::MAX; 32];
            let mut others: Vec<u64> = Vec::new();
            for lane in group.filter(|lane| mask >> lane & 1 != 0) {
                for word in (0..words).map(|i| (addresses[lane] >> 2) + i) {
                    let seen = &mut first[(word & 31) as usize];
                    if *seen == u64::MAX {
                        *seen = word;
                    } else if *seen != word && !others.contains(&word) {
                        others.push(word);
                    }
                }
            }
            if !others.is_empty() {
                let in_bank = |bank: u64| others.iter().filter(|&&word| word & 31 == bank).count() as u64;
                self.bank_conflicts += (0..32).map(in_bank).max().unwrap_or(0);
            }
        }
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        self.launches += other.launches;
        self.blocks += other.blocks;
        self.warp_instructions += other.warp_instructions;
        for (sum, count) in self.thread_instructions.iter_mut().zip(other.thread_instructions) {
            *sum += count;
        }
        self.global_accesses += other.global_accesses;
        self.global_bytes += other.global_bytes;
        self.global_sectors += other.global_sectors;
        for (sum, sectors) in self.sectors_of_width.iter_mut().zip(other.sectors_of_width) {
            *sum += sectors;
        }
        self.shared_accesses += other.shared_accesses;
        self.bank_conflicts += other.bank_conflicts;
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "launches             {:>16}", self.launches)?;
        writeln!(f, "blocks               {:>16}", self.blocks)?;
        writeln!(f, "warp instructions    {:>16}", self.warp_instructions)?;
        writeln!(f, "thread instructions  {:>16}", self.thread_instructions())?;
        for kind in Kind::ALL.into_iter().filter(|&kind| self.of(kind) != 0) {
            writeln!(f, "  {:<19}{:>16}", kind.name(), self.of(kind))?;
        }
        writeln!(f, "global accesses      {:>16}", self.global_accesses)?;
        writeln!(f, "global bytes asked   {:>16}", self.global_bytes)?;
        writeln!(f, "global sectors moved {:>16} (32 bytes each)", self.global_sectors)?;
        writeln!(f, "shared accesses      {:>16}", self.shared_accesses)?;
        write!(f, "shared bank conflicts{:>16}", self.bank_conflicts)
    }
}
