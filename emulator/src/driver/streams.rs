//! Streams. Each is in order; delays that faults inject are all that makes them asynchronous.

use std::sync::PoisonError;
use std::time::Instant;

use super::abi::{HostFunction, Out, UserData};
use super::answer;
use super::code::{self, Code};
use super::state::{Handle, NON_BLOCKING, Stream, StreamState, driver, sleep_until};
use crate::faults::Call;

/// Runs a function on the state of a stream that does not capture: for work that only runs.
pub(crate) fn with_state<R>(stream: Handle, run: impl FnOnce(&StreamState) -> R) -> Result<R, Code> {
    with_any_state(stream, |state| state.no_capture().map(|()| run(state)))?
}

/// Runs a function on a stream's state; 0, 1 and 2 are names of the default stream.
pub(crate) fn with_any_state<R>(stream: Handle, run: impl FnOnce(&StreamState) -> R) -> Result<R, Code> {
    let context = driver().current()?;
    if stream <= 2 {
        return Ok(run(&context.default_stream));
    }
    let stream = driver().streams.get(stream)?;
    if stream.context != context.handle {
        return Err(code::INVALID_HANDLE);
    }
    Ok(run(&stream.state))
}

pub(crate) extern "C" fn cuStreamCreate(stream: Out<Handle>, flags: u32) -> Code {
    cuStreamCreateWithPriority(stream, flags, 0)
}

pub(crate) extern "C" fn cuStreamCreateWithPriority(stream: Out<Handle>, flags: u32, priority: i32) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::CreateStream)?;
        if flags > NON_BLOCKING {
            return Err(code::INVALID_VALUE);
        }
        let handle = driver().new_handle();
        stream.write(handle)?;
        let state = StreamState::default();
        let priority = priority.clamp(-5, 0);
        driver().streams.insert(handle, Stream { context: context.handle, flags, priority, state });
        Ok(())
    })
}

pub(crate) extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        driver().streams.remove(stream)?;
        context.alive()
    })
}

pub(crate) extern "C" fn cuStreamSynchronize(stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::Synchronize)?;
        let end = with_state(stream, |state| {
            state.delay(verdict);
            state.end()
        })?;
        sleep_until(end);
        context.settle()
    })
}

pub(crate) extern "C" fn cuStreamQuery(stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.settle()?;
        let end = with_state(stream, StreamState::end)?;
        if end > Instant::now() { Err(code::NOT_READY) } else { Ok(()) }
    })
}

pub(crate) extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) -> Code {
    answer(|| {
        driver().current()?.alive()?;
        let event = driver().events.get(event)?;
        let recorded = *event.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        with_state(stream, |state| {
            if let Some(time) = recorded {
                state.wait_for(time);
            }
        })
    })
}

pub(crate) extern "C" fn cuStreamGetFlags(stream: Handle, flags: Out<u32>) -> Code {
    answer(|| flags.write(if stream <= 2 { 0 } else { driver().streams.get(stream)?.flags }))
}

pub(crate) extern "C" fn cuStreamGetPriority(stream: Handle, priority: Out<i32>) -> Code {
    answer(|| priority.write(if stream <= 2 { 0 } else { driver().streams.get(stream)?.priority }))
}

pub(crate) extern "C" fn cuStreamGetCtx(stream: Handle, context: Out<Handle>) -> Code {
    answer(|| {
        let current = driver().current()?.handle;
        context.write(if stream <= 2 { current } else { driver().streams.get(stream)?.context })
    })
}

pub(crate) extern "C" fn cuLaunchHostFunc(stream: Handle, function: HostFunction, data: UserData) -> Code {
    answer(|| {
        driver().current()?.alive()?;
        sleep_until(with_state(stream, StreamState::end)?);
        function.call(&data)
    })
}
