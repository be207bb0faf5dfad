//! Events: moments on the host's clock. They time the emulation, not a device.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::abi::Out;
use super::answer;
use super::code::{self, Code};
use super::state::{Event, Handle, StreamState, driver, sleep_until};
use super::streams::with_state;
use crate::faults::Call;

const DISABLE_TIMING: u32 = 2;

pub(crate) extern "C" fn cuEventCreate(event: Out<Handle>, flags: u32) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::CreateEvent)?;
        let handle = driver().new_handle();
        event.write(handle)?;
        let timing = flags & DISABLE_TIMING == 0;
        driver().events.insert(handle, Event { context: context.handle, timing, recorded: Mutex::default() });
        Ok(())
    })
}

pub(crate) extern "C" fn cuEventDestroy_v2(event: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        driver().events.remove(event)?;
        context.alive()
    })
}

pub(crate) extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::RecordEvent)?;
        let event = driver().events.get(event)?;
        let time = with_state(stream, |state| {
            state.delay(verdict);
            StreamState::end(state)
        })?;
        *event.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
        Ok(())
    })
}

fn recorded(event: Handle) -> Result<Option<Instant>, Code> {
    let event = driver().events.get(event)?;
    let recorded = *event.recorded.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(recorded)
}

pub(crate) extern "C" fn cuEventQuery(event: Handle) -> Code {
    answer(|| {
        driver().current()?.settle()?;
        match recorded(event)? {
            Some(time) if time > Instant::now() => Err(code::NOT_READY),
            _ => Ok(()),
        }
    })
}

pub(crate) extern "C" fn cuEventSynchronize(event: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::Synchronize)?;
        if let Some(time) = recorded(event)? {
            sleep_until(time);
        }
        context.settle()
    })
}

pub(crate) extern "C" fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::ElapsedTime)?;
        for event in [start, end] {
            if !driver().events.get(event)?.timing {
                return Err(code::INVALID_HANDLE);
            }
        }
        let (Some(start), Some(end)) = (recorded(start)?, recorded(end)?) else {
            return Err(code::INVALID_HANDLE);
        };
        if end > Instant::now() {
            return Err(code::NOT_READY);
        }
        context.settle()?;
        let seconds = if end >= start { (end - start).as_secs_f64() } else { -(start - end).as_secs_f64() };
        milliseconds.write((seconds * 1e3) as f32)
    })
}
