//! A block: its warps take turns until all have ended, and meet at barriers.

use super::environment::Environment;
use super::launch::Launch;
use super::registers::LANES;
use super::warp::{PathState, Stop, Warp, WarpFault};
use crate::counters::Counters;
use crate::diagnostic::{LaneFault, Violation};
use crate::isa::Op;
use crate::isa::control::{self, BarrierResult, Control};
use crate::memory::global::GlobalView;
use crate::memory::shared::SharedMemory;
use crate::memory::window::SHARED_OFFSET;
use crate::program::Program;
use crate::program::decoder::{LaneMask, Special};

const BARRIERS: usize = 16;
/// Warp instructions before another warp has its turn.
const TURN: u64 = 1 << 16;

/// The state of one block, kept from block to block for its memory.
#[derive(Debug, Default)]
pub(crate) struct Block {
    warps: Vec<Warp>,
    shared: SharedMemory,
    barriers: [Barrier; BARRIERS],
    pub(crate) counters: Counters,
}

#[derive(Debug, Clone, Copy, Default)]
struct Barrier {
    arrived: u32,
    expected: u32,
    /// What the warps that arrived had done, joined.
    released: [u32; 32],
    /// Threads whose predicate held, for reductions.
    holds: u32,
}

/// A violation with its warp.
#[derive(Debug)]
pub(crate) struct BlockFault {
    pub(crate) warp: usize,
    pub(crate) fault: WarpFault,
}

impl Block {
    /// Runs a block from beginning to end.
    pub(crate) fn run(&mut self, launch: &Launch, index: [u32; 3]) -> Result<(), BlockFault> {
        let program = launch.program;
        let threads: u32 = launch.block.iter().product();
        let warp_count = threads.div_ceil(LANES as u32) as usize;
        self.warps.resize_with(warp_count, Warp::default);
        self.shared.reset(launch.shared_bytes(), program.shared_grain, warp_count);
        self.barriers = [Barrier::default(); BARRIERS];
        for (i, warp) in self.warps.iter_mut().enumerate() {
            let lanes = threads - (i * LANES) as u32;
            warp.reset(program, if lanes >= 32 { u32::MAX } else { (1 << lanes) - 1 });
            set_specials(warp, launch, index, i);
        }
        self.counters.blocks += 1;
        let (mut finished, mut instructions) = (0u32, 0u64);
        let before = self.counters.warp_instructions;
        loop {
            let mut progress = false;
            for i in 0..warp_count {
                if finished >> i & 1 != 0 || !self.can_run(i) {
                    continue;
                }
                progress = true;
                let mut env = Environment {
                    parameters: launch.parameters,
                    global: GlobalView::new(launch.allocations),
                    atomics: launch.atomics,
                    shared: &mut self.shared,
                    counters: &mut self.counters,
                    warp: i,
                };
                match self.warps[i].run(program, &mut env, TURN) {
                    Ok(Stop::Finished) => finished |= 1 << i,
                    Ok(Stop::Parked) => self.arrive(program, i, threads)?,
                    Ok(Stop::Yielded) => {}
                    Err(fault) => return Err(BlockFault { warp: i, fault }),
                }
            }
            if finished.count_ones() as usize == warp_count {
                return Ok(());
            }
            if !progress {
                return Err(self.deadlock(program, finished));
            }
            instructions = instructions.max(self.counters.warp_instructions - before);
            if instructions > launch.max_instructions {
                let fault = LaneFault::new(0, Violation::Timeout(instructions));
                let warp = finished.trailing_ones() as usize;
                let pc = self.warps[warp].paths.first().map_or(0, |path| path.pc);
                return Err(BlockFault { warp, fault: WarpFault { pc, fault } });
            }
        }
    }

    fn can_run(&self, warp: usize) -> bool {
        self.warps[warp].paths.iter().any(|path| path.state == PathState::Ready)
    }

    /// Counts the lanes of a warp that have just come to a barrier, and opens it if they were the last.
    fn arrive(&mut self, program: &Program, index: usize, threads: u32) -> Result<(), BlockFault> {
        let warp = &mut self.warps[index];
        for at in 0..warp.paths.len() {
            let path = warp.paths[at];
            let PathState::AtBarrier(None) = path.state else { continue };
            let Op::Control(Control::Barrier(barrier)) = &program.code[path.pc].op else { continue };
            let lane = path.lanes.trailing_zeros() as usize;
            let fail = |violation| {
                let fault = LaneFault::new(lane, violation);
                Err(BlockFault { warp: index, fault: WarpFault { pc: path.pc, fault } })
            };
            if barrier.aligned && path.lanes != warp.alive {
                return fail(Violation::DivergedBarrier { arrived: path.lanes, alive: warp.alive });
            }
            let id = warp.registers.narrow[barrier.id as usize][lane];
            let Some(state) = self.barriers.get_mut(id as usize) else {
                return fail(Violation::Operand(format!(
                    "barrier {id} does not exist: there are {BARRIERS}"
                )));
            };
            let (expected, arrived) = match barrier.count {
                None => (threads, path.lanes.count_ones()),
                // A given count is in whole warps, absent lanes included.
                Some(row) => {
                    let whole = path.lanes == warp.alive;
                    let arrived = if whole { 32 } else { path.lanes.count_ones() };
                    (warp.registers.narrow[row as usize][lane], arrived)
                }
            };
            if state.arrived != 0 && state.expected != expected {
                let message = format!("barrier {id} waits for {} and for {expected} threads", state.expected);
                return fail(Violation::Operand(message));
            }
            state.expected = expected;
            state.arrived += arrived;
            for (joined, released) in state.released.iter_mut().zip(self.shared.release(index)) {
                *joined = released.max(*joined);
            }
            if let Some(reduction) = &barrier.reduction {
                state.holds += (warp.registers.predicate(reduction.source) & path.lanes).count_ones();
            }
            if state.arrived > expected {
                return fail(Violation::Operand(format!(
                    "{} threads arrive at barrier {id}, which waits for {expected}",
                    state.arrived
                )));
            }
            let path = &mut warp.paths[at];
            if barrier.arrive_only {
                (path.pc, path.state) = (path.pc + 1, PathState::Ready);
            } else {
                path.state = PathState::AtBarrier(Some(id));
            }
        }
        for id in 0..BARRIERS {
            if self.barriers[id].arrived != 0 && self.barriers[id].arrived == self.barriers[id].expected {
                self.open(program, id as u32);
            }
        }
        Ok(())
    }

    fn open(&mut self, program: &Program, id: u32) {
        let barrier = std::mem::take(&mut self.barriers[id as usize]);
        for (index, warp) in self.warps.iter_mut().enumerate() {
            let Warp { paths, registers, .. } = warp;
            for path in paths.iter_mut().filter(|path| path.state == PathState::AtBarrier(Some(id))) {
                self.shared.acquire(index, &barrier.released);
                if let Op::Control(Control::Barrier(control::Barrier {
                    reduction: Some(reduction), ..
                })) = &program.code[path.pc].op
                {
                    let all = barrier.holds == barrier.expected;
                    let fill = |holds: bool| if holds { u32::MAX } else { 0 };
                    match reduction.result {
                        BarrierResult::Count(d) => {
                            registers.write::<u32>(path.lanes, d, &[barrier.holds; LANES]);
                        }
                        BarrierResult::And(d) => registers.set_predicate(path.lanes, d, fill(all)),
                        BarrierResult::Or(d) => {
                            registers.set_predicate(path.lanes, d, fill(barrier.holds != 0));
                        }
                    }
                }
                (path.pc, path.state) = (path.pc + 1, PathState::Ready);
            }
        }
    }

    /// Nobody can move: says at which barrier, or which collective, and who is there.
    fn deadlock(&self, program: &Program, finished: u32) -> BlockFault {
        let waiting = || (0..self.warps.len()).filter(|warp| finished >> warp & 1 == 0);
        for warp in waiting() {
            for path in &self.warps[warp].paths {
                if let PathState::AtBarrier(Some(id)) = path.state {
                    let Barrier { arrived, expected, .. } = self.barriers[id as usize];
                    let violation = Violation::Barrier { barrier: id, arrived, expected };
                    let fault = LaneFault::new(path.lanes.trailing_zeros() as usize, violation);
                    return BlockFault { warp, fault: WarpFault { pc: path.pc, fault } };
                }
            }
        }
        let stuck = waiting().find_map(|warp| Some((warp, self.warps[warp].stuck_collective(program)?)));
        let (warp, fault) = stuck.unwrap_or_else(|| {
            let fault = LaneFault::new(0, Violation::Timeout(self.counters.warp_instructions));
            (0, WarpFault { pc: 0, fault })
        });
        BlockFault { warp, fault }
    }
}

/// `%tid` of a lane.
pub(crate) fn thread_index(block: [u32; 3], warp: usize, lane: usize) -> [u32; 3] {
    let linear = (warp * LANES + lane) as u32;
    [linear % block[0], linear / block[0] % block[1], linear / (block[0] * block[1])]
}

fn set_specials(warp: &mut Warp, launch: &Launch, index: [u32; 3], warp_index: usize) {
    let threads: u32 = launch.block.iter().product();
    for &(row, special) in &launch.program.layout.specials {
        let value = |lane: usize| -> u32 {
            let one = 1u32 << lane;
            match special {
                Special::Thread(axis) => thread_index(launch.block, warp_index, lane)[axis],
                Special::BlockDim(axis) => launch.block[axis],
                Special::Block(axis) => index[axis],
                Special::GridDim(axis) => launch.grid[axis],
                Special::Lane => lane as u32,
                Special::Warp => warp_index as u32,
                Special::WarpCount => threads.div_ceil(LANES as u32),
                Special::LaneMask(LaneMask::Equal) => one,
                Special::LaneMask(LaneMask::Less) => one - 1,
                Special::LaneMask(LaneMask::LessEqual) => one | (one - 1),
                Special::LaneMask(LaneMask::Greater) => !(one | (one - 1)),
                Special::LaneMask(LaneMask::GreaterEqual) => !(one - 1),
                Special::DynamicSharedBytes => launch.dynamic_shared,
                Special::TotalSharedBytes => launch.shared_bytes() + SHARED_OFFSET,
            }
        };
        warp.registers.narrow[row as usize] = std::array::from_fn(value);
    }
}
