//! Functions and launches.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::abi::{KernelArguments, Out};
use super::answer;
use super::code::{self, Code};
use super::state::{Context, Function, Handle, driver};
use super::streams;
use crate::config::DeviceSpec;
use crate::diagnostic::Violation;
use crate::exec::launch::Launch;
use crate::faults::Call;
use crate::report::LaunchError;

#[allow(clippy::too_many_arguments)]
pub(crate) extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    shared_bytes: u32,
    stream: Handle,
    arguments: KernelArguments,
    extra: KernelArguments,
) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::Launch)?;
        let function = driver().functions.get(function)?;
        if function.context != context.handle {
            return Err(code::INVALID_HANDLE);
        }
        let program = &*function.program;
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        check_shape(&context.device.spec, &function, grid, block, shared_bytes).map_err(|error| {
            context.device.report(error);
            code::INVALID_VALUE
        })?;
        let parameters = if extra.is_null() {
            arguments.gather(&program.parameters, program.parameter_bytes)?
        } else {
            extra.buffer(program.parameter_bytes)?
        };
        let prepared = Prepared { function, grid, block, shared_bytes, parameters };
        let to_run = streams::with_any_state(stream, |state| state.captured(prepared))??;
        if let Some(prepared) = to_run {
            streams::with_state(stream, |state| state.delay(verdict))?;
            prepared.run(&context);
        }
        Ok(())
    })
}

/// A launch that was found in order, with its arguments.
#[derive(Debug)]
pub(crate) struct Prepared {
    function: Arc<Function>,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    parameters: Vec<u8>,
}

impl Prepared {
    /// Runs the kernel. What it does wrong, the context tells later.
    pub(crate) fn run(&self, context: &Context) {
        let program = &*self.function.program;
        let allocations = context.memory.snapshot();
        let launch = Launch {
            program,
            grid: self.grid,
            block: self.block,
            dynamic_shared: self.shared_bytes,
            parameters: &self.parameters,
            allocations: &allocations,
            atomics: &context.memory.atomics,
            max_instructions: context.device.spec.max_block_instructions,
        };
        let (counters, result) = launch.run();
        context.device.add_counters(&program.name, &counters);
        if let Err(diagnostic) = result {
            context.hurt(code_of(&diagnostic.violation));
            context.device.report(diagnostic);
        }
    }
}

/// What hardware answers to the same mistake; it does not notice all of them.
fn code_of(violation: &Violation) -> Code {
    match violation {
        Violation::OutOfBounds { .. } | Violation::ReadOnly { .. } => code::ILLEGAL_ADDRESS,
        Violation::Misaligned { .. } => code::MISALIGNED_ADDRESS,
        Violation::Timeout(_) => code::LAUNCH_TIMEOUT,
        _ => code::LAUNCH_FAILED,
    }
}

fn check_shape(
    spec: &DeviceSpec,
    function: &Function,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
) -> Result<(), LaunchError> {
    let program = &*function.program;
    let wrong = |what, shape, expected: String| {
        Err(LaunchError::Shape { kernel: program.name.clone(), what, shape, expected })
    };
    if (0..3).any(|axis| grid[axis] == 0 || grid[axis] > [i32::MAX as u32, 65_535, 65_535][axis]) {
        return wrong("grid", grid, format!("1 to {} x 65535 x 65535", i32::MAX));
    }
    let max = spec.max_threads_per_block;
    if (0..3).any(|axis| block[axis] == 0 || block[axis] > [max, max, 64][axis]) {
        return wrong("block", block, format!("1 to {max} x {max} x 64"));
    }
    let max_threads = program.max_threads.unwrap_or(max).min(max);
    if block.iter().map(|&size| u64::from(size)).product::<u64>() > max_threads.into() {
        return wrong("block", block, format!("at most {max_threads} threads"));
    }
    if let Some(required) = program.required_block
        && required != block
    {
        return wrong("block", block, format!("{required:?}, which the kernel requires"));
    }
    let asked = u64::from(program.static_shared) + u64::from(dynamic_shared);
    let raised = function.max_dynamic_shared.load(Relaxed);
    let too_much = |limit: u32, hint| {
        Err(LaunchError::SharedMemory { kernel: program.name.clone(), asked, limit: limit.into(), hint })
    };
    if asked > spec.shared_per_block_optin.into() {
        return too_much(spec.shared_per_block_optin, "the most that this device gives to a block");
    }
    if dynamic_shared > raised {
        return too_much(
            program.static_shared + raised,
            "more needs the function attribute for dynamic shared memory",
        );
    }
    Ok(())
}

fn current_function(function: Handle) -> Result<(Arc<Context>, Arc<Function>), Code> {
    let context = driver().current()?;
    context.alive()?;
    Ok((context, driver().functions.get(function)?))
}

const MAX_DYNAMIC_SHARED: i32 = 8;
const CARVEOUT: i32 = 9;

/// The numbers are those of `CUfunction_attribute`.
pub(crate) extern "C" fn cuFuncGetAttribute(value: Out<i32>, attribute: i32, function: Handle) -> Code {
    answer(|| {
        let (context, function) = current_function(function)?;
        let program = &*function.program;
        let max_threads = context.device.spec.max_threads_per_block;
        value.write(match attribute {
            0 => program.max_threads.unwrap_or(max_threads).min(max_threads) as i32,
            1 => program.static_shared as i32,
            2 => 0,
            3 => program.local_bytes as i32,
            // Registers are allotted by a compiler that is not here; this is a common number of them.
            4 => 32,
            5 => function.versions.0,
            6 => function.versions.1,
            7 => 0,
            MAX_DYNAMIC_SHARED => function.max_dynamic_shared.load(Relaxed) as i32,
            CARVEOUT => function.carveout.load(Relaxed),
            _ => return Err(code::INVALID_VALUE),
        })
    })
}

pub(crate) extern "C" fn cuFuncSetAttribute(function: Handle, attribute: i32, value: i32) -> Code {
    answer(|| {
        let (context, function) = current_function(function)?;
        match attribute {
            MAX_DYNAMIC_SHARED => {
                let room =
                    context.device.spec.shared_per_block_optin.saturating_sub(function.program.static_shared);
                let bytes = u32::try_from(value).ok().filter(|&bytes| bytes <= room);
                function.max_dynamic_shared.store(bytes.ok_or(code::INVALID_VALUE)?, Relaxed);
            }
            CARVEOUT if (-1..=100).contains(&value) => function.carveout.store(value, Relaxed),
            _ => return Err(code::INVALID_VALUE),
        }
        Ok(())
    })
}

pub(crate) extern "C" fn cuFuncSetCacheConfig(function: Handle, _config: u32) -> Code {
    answer(|| current_function(function).map(|_| ()))
}

pub(crate) extern "C" fn cuFuncSetSharedMemConfig(function: Handle, _config: u32) -> Code {
    answer(|| current_function(function).map(|_| ()))
}

pub(crate) extern "C" fn cuFuncGetModule(module: Out<Handle>, function: Handle) -> Code {
    answer(|| module.write(current_function(function)?.1.module))
}

pub(crate) extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: Out<i32>,
    function: Handle,
    threads: i32,
    dynamic_shared: usize,
) -> Code {
    answer(|| {
        let (context, function) = current_function(function)?;
        let spec = &context.device.spec;
        let threads = u32::try_from(threads).ok().filter(|&threads| threads != 0);
        let threads = threads.ok_or(code::INVALID_VALUE)?.next_multiple_of(32);
        let by_threads = spec.max_threads_per_multiprocessor / threads;
        let reserved = spec.shared_per_multiprocessor - spec.shared_per_block_optin;
        let shared = function.program.static_shared as usize + dynamic_shared + reserved as usize;
        let by_shared = spec.shared_per_multiprocessor as usize / shared.max(1);
        blocks.write(by_threads.min(32).min(by_shared.try_into().unwrap_or(32)) as i32)
    })
}

pub(crate) extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: Out<i32>,
    function: Handle,
    threads: i32,
    dynamic_shared: usize,
    _flags: u32,
) -> Code {
    cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, dynamic_shared)
}
