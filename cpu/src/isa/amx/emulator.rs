//! Executes the instructions of AMX where the CPU lacks them, so that tests run the machine code that AMX would run.
//!
//! A CPU without AMX raises an exception on its instructions, which Linux turns into the signal SIGILL. The handler
//! decodes the instruction, does on tiles in memory what Intel's manual says, with all the checks that the manual
//! says, and goes on behind it. What breaks a rule ends the process.

mod decode;
mod state;

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Once;

use decode::{Instruction, Operand};
use state::State;

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::RELEASED) };
}

/// From now on the instructions are emulated, in all threads.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all-zero bytes are a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, null_mut())
        };
        assert_eq!(installed, 0, "a handler of SIGILL");
    });
}

/// The integer registers as instructions number them, and as the system stores them.
const REGISTERS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn handle(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes the context of the thread that was interrupted, which nobody else uses meanwhile.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = registers[libc::REG_RIP as usize];
    // SAFETY: the CPU has read an instruction there. The longest one has 15 bytes, of which those behind its end may
    // not be readable only where code ends at the end of a page; code of tests goes on.
    let bytes = unsafe { &*(rip as *const [u8; 15]) };
    let Some((instruction, length)) = decode::decode(bytes) else {
        // Not ours: it shall be what it would have been, when it is met again.
        // SAFETY: the default action is a valid one.
        unsafe { libc::signal(libc::SIGILL, libc::SIG_DFL) };
        return;
    };
    let address = |operand: Operand| operand.address(|register| registers[REGISTERS[register] as usize]);
    let outcome = STATE.with_borrow_mut(|state| match instruction {
        // SAFETY: the program under test hands these addresses to instructions that read and write there.
        Instruction::Configure(operand) => unsafe {
            state.configure(&*(address(operand).0 as *const [u8; 64]))
        },
        // SAFETY: as above.
        Instruction::StoreConfiguration(operand) => unsafe {
            *(address(operand).0 as *mut [u8; 64]) = state.configuration();
            Ok(())
        },
        Instruction::Zero(tile) => state.zero(tile),
        Instruction::Load(tile, operand) => {
            let (first, stride) = address(operand);
            // SAFETY: as above.
            state.for_each_row(tile, |row, bytes| unsafe {
                let from = (first + row as i64 * stride) as *const u8;
                from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len());
            })
        }
        Instruction::Store(tile, operand) => {
            let (first, stride) = address(operand);
            // SAFETY: as above.
            state.for_each_row(tile, |row, bytes| unsafe {
                let to = (first + row as i64 * stride) as *mut u8;
                to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            })
        }
        Instruction::DotBf16 { to, a, b } => state.dot_bf16(to, a, b),
        Instruction::DotBytes { to, a, b } => state.dot_bytes(to, a, b),
    });
    if let Err(broken) = outcome {
        eprintln!("{instruction:?}: {broken}");
        std::process::abort();
    }
    registers[libc::REG_RIP as usize] = rip + length as i64;
}
