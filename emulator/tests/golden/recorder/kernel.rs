//! A few instructions, wrapped into a kernel that reads one row of inputs for each thread.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use warpdot_host::{Context, Launch};

use super::inputs::Table;

pub(crate) const LANES: usize = 32;
/// A row has at most this many words.
const COLUMNS: usize = 12;
/// The words that a thread can give back.
const RESULTS: usize = 4;

/// Instructions and what surrounds them.
///
/// They find their inputs in `%r1`, `%r2`...; the lower halves of the first three also in `%rs1` to `%rs3`; and
/// pairs of them as `%rd1` to `%rd3`, of the first six words. Their results are `%o0` to `%o3`, as many as
/// counted. `%lane` is the thread's number in its warp, `%row` the address of its inputs, and `tile` are 1024
/// bytes of shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) code: String,
    /// The oldest compute capability that has the instructions.
    pub(crate) since: (u32, u32),
    pub(crate) results: usize,
}

impl Kernel {
    pub(crate) fn ptx(&self, columns: usize) -> String {
        let Self { code, since: (major, minor), results } = self;
        // Old drivers take old versions only; the packed integers and the products of 8-bit floats came late.
        let version = match (*major, *minor) {
            (8, 9) => "8.4",
            (9, 0) => "8.0",
            _ => "7.8",
        };
        let loads: String =
            (0..columns).map(|i| format!("ld.global.b32 %r{}, [%row+{}];\n", i + 1, 4 * i)).collect();
        let pairs = if columns >= 6 { 3 } else { 0 };
        let pairs: String =
            (1..=pairs).map(|i| format!("mov.b64 %rd{i}, {{%r{}, %r{}}};\n", 2 * i - 1, 2 * i)).collect();
        let stores: String =
            (0..*results).map(|i| format!("st.global.b32 [%out+{}], %o{i};\n", 4 * i)).collect();
        format!(
            "\
.version {version}
.target sm_{major}{minor}
.address_size 64
.visible .entry kernel(.param .u64 inputs, .param .u64 outputs)
{{
.reg .b32 %r<{registers}>, %o<{RESULTS}>, %index, %lane;
.reg .b16 %rs<4>;
.reg .b64 %rd<4>, %row, %out;
.reg .pred %p<3>;
.shared .align 16 .b8 tile[1024];
mov.u32 %index, %ctaid.x;
mov.u32 %lane, %tid.x;
mad.lo.u32 %index, %index, {LANES}, %lane;
ld.param.u64 %row, [inputs];
ld.param.u64 %out, [outputs];
cvta.to.global.u64 %row, %row;
cvta.to.global.u64 %out, %out;
mad.wide.u32 %row, %index, {row_bytes}, %row;
mad.wide.u32 %out, %index, {result_bytes}, %out;
{loads}cvt.u16.u32 %rs1, %r1;
cvt.u16.u32 %rs2, %r2;
cvt.u16.u32 %rs3, %r3;
{pairs}{code}
{stores}ret;
}}
",
            registers = COLUMNS + 1,
            row_bytes = 4 * columns,
            result_bytes = 4 * results,
        )
    }

    /// The results for every row of a table, warp after warp.
    pub(crate) fn run(&self, context: &Context, table: &Table) -> Result<Vec<u32>> {
        let Table { columns, words } = table;
        ensure!((3..=COLUMNS).contains(columns), "rows of {columns} words; expected 3 to {COLUMNS}");
        ensure!((1..=RESULTS).contains(&self.results), "{} results; expected 1 to {RESULTS}", self.results);
        ensure!(
            !words.is_empty() && words.len().is_multiple_of(columns * LANES),
            "{} words are no whole warps with rows of {columns}",
            words.len()
        );
        let rows = table.rows();
        let function = context.load_module(&self.ptx(*columns))?.function("kernel")?;
        let mut inputs = context.alloc::<u32>(words.len())?;
        inputs.write(words)?;
        let mut outputs = context.alloc::<u32>(rows * self.results)?;
        let stream = context.stream()?;
        let launch =
            Launch { grid: [(rows / LANES) as u32, 1, 1], block: [LANES as u32, 1, 1], shared_bytes: 0 };
        // SAFETY: the kernel takes two pointers; it reads a row and writes its results for each thread, of which
        // there are as many as rows. Both buffers live until the stream is synchronized.
        unsafe { stream.launch(&function, launch, &[(&inputs).into(), (&mut outputs).into()]) }?;
        stream.synchronize().context("the kernel failed")?;
        let mut results = vec![0; outputs.len()];
        outputs.read(&mut results)?;
        Ok(results)
    }
}
