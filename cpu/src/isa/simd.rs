//! What conversions ask of an instruction set.

use warpdot_formats::{Format, RUN, RunScales};

use super::stream::{Line, Streaming};

/// Consecutive runs that are worked on at once, one in each lane of a vector of eight: 256 weights, which is
/// a super-block or eight small blocks.
pub(crate) const OCTET: usize = 8;

/// Weights in half a run, the smallest group that has a scale.
pub(crate) const HALF: usize = RUN / 2;

/// The blocks of `F` in an octet.
pub(crate) const fn octet_blocks<F: Format>() -> usize {
    const { assert!(OCTET.is_multiple_of(F::RUNS), "octets must not end within a block") };
    OCTET / F::RUNS
}

/// An octet's block that holds run `run`, and the run's number there.
#[inline(always)]
pub(crate) fn run_of<F: Format>(blocks: &[F], run: usize) -> (&F, usize) {
    (&blocks[run / F::RUNS], run % F::RUNS)
}

/// An octet that starts with the blocks of `rest`; zero weights make up the others.
#[cold]
pub(crate) fn padded_octet<F: Format>(rest: &[F]) -> [F; OCTET] {
    let mut octet = [F::zeroed(); OCTET];
    octet[..rest.len()].copy_from_slice(rest);
    octet
}

/// `[f(0), f(1), ...]`, with the promise to inline it: vector code that is not inlined into its caller's
/// [`vectorize`](Vectorize::vectorize) would become a function call for every instruction. So must `f` be.
#[inline(always)]
pub(crate) fn each<T: Copy, const N: usize>(f: impl Fn(usize) -> T) -> [T; N] {
    let mut values = [f(0); N];
    for (i, value) in values.iter_mut().enumerate().skip(1) {
        *value = f(i);
    }
    values
}

/// The weights of an octet, ready to meet any number of activations.
#[derive(Clone, Copy)]
pub(crate) struct Unpacked<I: Simd> {
    pub(crate) codes: I::Codes,
    pub(crate) scales: Scales<I>,
}

/// The scales and offsets of an octet's runs, per half as in [`RunScales`]; lane r belongs to run r.
#[derive(Clone, Copy)]
pub(crate) struct Scales<I: Simd> {
    pub(crate) scale: [I::F32; 2],
    pub(crate) offset: [I::F32; 2],
}

impl<I: Simd> Scales<I> {
    /// The scales of any format, by its portable definition.
    #[inline(always)]
    pub(crate) fn by_definition<F: Format>(isa: I, blocks: &[F]) -> Self {
        let scales: [RunScales; OCTET] = std::array::from_fn(|run| {
            let (block, run) = run_of(blocks, run);
            block.scales(run)
        });
        Self {
            scale: each(
                #[inline(always)]
                |group| isa.load(&scales.map(|scales| scales.scale[group])),
            ),
            offset: each(
                #[inline(always)]
                |group| isa.load(&scales.map(|scales| scales.offset[group])),
            ),
        }
    }
}

/// What every token can do.
pub(crate) trait Vectorize: Copy + Send + Sync + 'static {
    /// Does `work` in a function that is compiled for this instruction set.
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R;

    /// Hints that the cache line at `address`, which need not be valid, will be read some microseconds later.
    fn prefetch(self, address: *const u8);
}

/// The vector operations that conversions along a row ask of an instruction set; implemented by its token.
///
/// All of them are meant to be inlined into the work given to [`vectorize`](Vectorize::vectorize).
pub(crate) trait Simd: Vectorize {
    /// Eight `f32`.
    type F32: Copy;
    /// Sixteen `f32`, the half of a run.
    type Numbers: Copy;
    /// The codes of an octet.
    type Codes: Copy;

    /// Unpacks an octet: [`octet_blocks`] blocks.
    fn unpack<F: Format>(self, blocks: &[F]) -> Unpacked<Self>;

    /// The eight values.
    fn load(self, values: &[f32; OCTET]) -> Self::F32;

    /// Stores the eight values.
    fn store(self, values: Self::F32, to: &mut [f32; OCTET]);

    /// The codes of both halves of a run as numbers.
    fn numbers<F: Format>(self, codes: &Self::Codes, run: usize) -> [Self::Numbers; 2];

    /// The products of numbers and `scale`.
    fn scaled(self, numbers: Self::Numbers, scale: f32) -> Self::Numbers;

    /// The sums of numbers and `offset`.
    fn raised(self, numbers: Self::Numbers, offset: f32) -> Self::Numbers;

    /// Stores numbers, past the caches if `stores` says so and `to` is aligned to 16 bytes.
    fn put_f32(self, numbers: Self::Numbers, to: &mut [f32; HALF], stores: &Streaming<Self>);

    /// Stores the nearest half-precision numbers, ties to even, as [`put_f32`](Self::put_f32) does.
    fn put_f16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>);

    /// Stores the nearest numbers of bfloat16, the upper halves of `f32`s, ties to even, as [`put_f32`](Self::put_f32)
    /// does.
    fn put_bf16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>);

    /// The lanes one by one.
    #[inline(always)]
    fn lanes(self, values: Self::F32) -> [f32; OCTET] {
        let mut lanes = [0.0; OCTET];
        self.store(values, &mut lanes);
        lanes
    }

    /// Copies a line past the caches.
    ///
    /// # Safety
    /// The same thread must call [`fence`](Self::fence) before anything else reads or writes the line.
    #[inline(always)]
    unsafe fn stream(self, from: &[u8; size_of::<Line>()], to: &mut Line) {
        to.0 = *from;
    }

    /// Brings what was streamed into the order of all other memory accesses.
    #[inline(always)]
    fn fence(self) {}
}
