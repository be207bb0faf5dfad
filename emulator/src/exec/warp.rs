//! A warp: 32 lanes in lockstep where they can be.
//!
//! Lanes that stand at the same instruction form a *path*. A branch that some lanes take splits a path;
//! the path that is furthest behind always runs first, so that paths meet again where control flow
//! joins. Operations that name other lanes, and barriers, park a path until those lanes arrive: what a
//! kernel computes does not depend on the order in which paths run, and lanes that cannot arrive are
//! found.

use super::environment::Environment;
use super::registers::{LANES, Registers};
use crate::diagnostic::{LaneFault, Violation};
use crate::isa::async_copy::AsyncCopies;
use crate::isa::control::Control;
use crate::isa::warp::WarpOp;
use crate::isa::{self, Op};
use crate::memory::local::LocalMemory;
use crate::program::Program;
use crate::program::decoder::Row;

/// Lanes that stand at the same instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) pc: usize,
    pub(crate) lanes: u32,
    pub(crate) state: PathState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathState {
    Ready,
    /// Waits for the other lanes that its operation names.
    AtCollective,
    /// Waits at a barrier; None until the block has counted the arrival.
    AtBarrier(Option<u32>),
}

/// Why a warp stopped running for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Finished,
    /// Every lane that is left waits.
    Parked,
    /// Others may have a turn.
    Yielded,
}

/// A violation with the instruction and the lane.
#[derive(Debug)]
pub(crate) struct WarpFault {
    pub(crate) pc: usize,
    pub(crate) fault: LaneFault,
}

#[derive(Debug, Default)]
pub(crate) struct Warp {
    pub(crate) registers: Registers,
    local: LocalMemory,
    copies: AsyncCopies,
    /// The lanes that have not exited.
    pub(crate) alive: u32,
    pub(crate) paths: Vec<Path>,
}

enum Next {
    /// The same lanes, at this instruction.
    At(usize),
    /// Other lanes or none, at this instruction.
    Lanes(u32, usize),
    Yield,
}

impl Warp {
    pub(crate) fn reset(&mut self, program: &Program, lanes: u32) {
        self.registers.reset(&program.layout);
        self.local.reset(program.local_bytes);
        self.copies.reset();
        self.alive = lanes;
        self.paths.clear();
        self.paths.push(Path { pc: 0, lanes, state: PathState::Ready });
    }

    /// Runs until the warp ends, waits or has used up its budget of instructions.
    pub(crate) fn run(
        &mut self,
        program: &Program,
        env: &mut Environment,
        mut budget: u64,
    ) -> Result<Stop, WarpFault> {
        while let Some(Path { mut pc, mut lanes, .. }) = self.next_ready() {
            let mut limit = self.nearest_ready();
            while pc < limit && lanes != 0 {
                if budget == 0 {
                    self.paths.push(Path { pc, lanes, state: PathState::Ready });
                    return Ok(Stop::Yielded);
                }
                budget -= 1;
                let instruction = &program.code[pc];
                let mask = lanes & self.registers.predicate(instruction.guard);
                if mask == 0 {
                    pc += 1;
                    continue;
                }
                env.counters.count(instruction.kind, mask.count_ones());
                match self.step(&instruction.op, env, pc, lanes, mask) {
                    Ok(Next::At(next)) => pc = next,
                    Ok(Next::Lanes(left, next)) => {
                        (lanes, pc) = (left, next);
                        limit = self.nearest_ready();
                    }
                    Ok(Next::Yield) => {
                        self.paths.push(Path { pc: pc + 1, lanes, state: PathState::Ready });
                        return Ok(Stop::Yielded);
                    }
                    Err(fault) => return Err(WarpFault { pc, fault }),
                }
            }
            if lanes != 0 {
                self.paths.push(Path { pc, lanes, state: PathState::Ready });
            }
        }
        if self.alive == 0 {
            return Ok(Stop::Finished);
        }
        // Without a barrier to wait for, nobody will ever join those at a collective.
        match self.stuck_collective(program) {
            Some(fault) if !self.paths.iter().any(|path| matches!(path.state, PathState::AtBarrier(_))) => {
                Err(fault)
            }
            _ => Ok(Stop::Parked),
        }
    }

    /// Takes out the ready path that is furthest behind, joined with those at the same place.
    fn next_ready(&mut self) -> Option<Path> {
        let ready = |path: &Path| path.state == PathState::Ready;
        let pc = self.paths.iter().filter(|path| ready(path)).map(|path| path.pc).min()?;
        let mut joined = Path { pc, lanes: 0, state: PathState::Ready };
        self.paths.retain(|path| {
            let joins = ready(path) && path.pc == pc;
            joined.lanes |= if joins { path.lanes } else { 0 };
            !joins
        });
        Some(joined)
    }

    fn nearest_ready(&self) -> usize {
        let ready = self.paths.iter().filter(|path| path.state == PathState::Ready);
        ready.map(|path| path.pc).min().unwrap_or(usize::MAX)
    }

    #[inline(always)]
    fn step(
        &mut self,
        op: &Op,
        env: &mut Environment,
        pc: usize,
        lanes: u32,
        mask: u32,
    ) -> Result<Next, LaneFault> {
        let registers = &mut self.registers;
        match op {
            Op::Integer(op) => isa::integer::execute(op, registers, mask),
            Op::Bits(op) => isa::bits::execute(op, registers, mask),
            Op::Float(op) => isa::float::execute(op, registers, mask),
            Op::Convert(op) => isa::convert::execute(op, registers, mask),
            Op::Compare(op) => isa::compare::execute(op, registers, mask),
            Op::Move(op) => isa::moves::execute(op, registers, mask),
            Op::Memory(op) => isa::memory::execute(op, registers, &mut self.local, env, mask)?,
            Op::Atomic(op) => isa::atomics::execute(op, registers, env, mask)?,
            Op::AsyncCopy(op) => isa::async_copy::execute(op, registers, &mut self.copies, env, mask)?,
            Op::ActiveMask(d) => registers.write::<u32>(mask, *d, &[mask; LANES]),
            Op::Warp(op, named) => {
                return self.collective(pc, lanes, mask, Some(*named), |registers, members| {
                    if matches!(op, WarpOp::Synchronize) {
                        env.shared.synchronize(1 << env.warp);
                    }
                    isa::warp::execute(op, registers, members)
                });
            }
            Op::Matrix(op) => {
                return self.collective(pc, lanes, mask, None, |registers, _| {
                    isa::matrix::execute(op, registers, env)
                });
            }
            Op::Control(control) => return self.control(control, pc, lanes, mask),
        }
        Ok(Next::At(pc + 1))
    }

    fn control(&mut self, control: &Control, pc: usize, lanes: u32, mask: u32) -> Result<Next, LaneFault> {
        let rest = lanes & !mask;
        match control {
            Control::Branch(target) if rest == 0 => Ok(Next::At(*target)),
            Control::Branch(target) => {
                self.park(*target, mask, PathState::Ready);
                Ok(Next::Lanes(rest, pc + 1))
            }
            Control::BranchTable { index, targets } => {
                for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
                    let value = self.registers.narrow[*index as usize][lane];
                    let Some(&target) = targets.get(value as usize) else {
                        let message =
                            format!("index {value} is outside a table of {} targets", targets.len());
                        return Err(LaneFault::new(lane, Violation::Operand(message)));
                    };
                    self.park(target, 1 << lane, PathState::Ready);
                }
                Ok(Next::Lanes(rest, pc + 1))
            }
            Control::Exit => {
                self.alive &= !mask;
                Ok(Next::Lanes(rest, pc + 1))
            }
            Control::Trap => Err(LaneFault::new(mask.trailing_zeros() as usize, Violation::Trap)),
            Control::Barrier(_) => {
                self.park(pc, mask, PathState::AtBarrier(None));
                Ok(Next::Lanes(rest, pc + 1))
            }
            Control::Pause => Ok(Next::Yield),
        }
    }

    fn park(&mut self, pc: usize, lanes: u32, state: PathState) {
        match self.paths.iter_mut().find(|path| path.pc == pc && path.state == state) {
            Some(path) => path.lanes |= lanes,
            None => self.paths.push(Path { pc, lanes, state }),
        }
    }

    /// Executes an operation for every group of lanes that is complete; parks the others. `named` is
    /// the row of the member mask, or None for an operation of all lanes.
    fn collective(
        &mut self,
        pc: usize,
        lanes: u32,
        mask: u32,
        named: Option<Row>,
        mut execute: impl FnMut(&mut Registers, u32) -> Result<(), LaneFault>,
    ) -> Result<Next, LaneFault> {
        let mut here = mask;
        self.paths.retain(|path| {
            let waits_here = path.pc == pc && path.state == PathState::AtCollective;
            here |= if waits_here { path.lanes } else { 0 };
            !waits_here
        });
        let (mut done, mut waiting) = (0, 0);
        while here != 0 {
            let (leader, members, group) = self.group(named, here);
            if group & !members != 0 {
                let stranger = (group & !members).trailing_zeros() as usize;
                return Err(LaneFault::new(stranger, Violation::NotNamed { named: members }));
            }
            if group == members {
                execute(&mut self.registers, members)?;
                done |= members;
            } else {
                waiting |= group;
            }
            here &= !group & !(1 << leader);
        }
        let rest = lanes & !mask;
        if waiting == 0 && rest == 0 && done == lanes {
            return Ok(Next::At(pc + 1));
        }
        if waiting != 0 {
            self.park(pc, waiting, PathState::AtCollective);
        }
        Ok(Next::Lanes(done | rest, pc + 1))
    }

    /// The first of some lanes, the lanes that it names, and those that name the same.
    fn group(&self, named: Option<Row>, lanes: u32) -> (u32, u32, u32) {
        let leader = lanes.trailing_zeros();
        let Some(row) = named else { return (leader, u32::MAX, lanes) };
        let masks = &self.registers.narrow[row as usize];
        let members = masks[leader as usize];
        let same = (0..LANES).fold(0, |bits, lane| bits | u32::from(masks[lane] == members) << lane);
        (leader, members, same & lanes)
    }

    /// The fault of lanes that wait at a collective, if there are any.
    pub(crate) fn stuck_collective(&self, program: &Program) -> Option<WarpFault> {
        let path = self.paths.iter().find(|path| path.state == PathState::AtCollective)?;
        let named = match &program.code[path.pc].op {
            Op::Warp(_, row) => Some(*row),
            _ => None,
        };
        let (leader, named, arrived) = self.group(named, path.lanes);
        let violation = Violation::Collective { named, arrived };
        Some(WarpFault { pc: path.pc, fault: LaneFault::new(leader as usize, violation) })
    }
}
