//! Graphs of launches that were captured from a stream, which is all that a capture takes here: other work on the
//! stream, and waiting for it, ends the capture without a graph. Memory and other streams are not watched meanwhile,
//! as if the mode were the relaxed one.

use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::abi::Out;
use super::answer;
use super::code::{self, Code};
use super::launching::Prepared;
use super::state::{Context, Handle, StreamState, driver};
use super::streams;
use crate::faults::Call;

/// What a stream does with work.
#[derive(Debug, Default)]
pub(crate) enum Capture {
    /// It runs it.
    #[default]
    None,
    /// It writes it down.
    Active(Vec<Arc<Prepared>>),
    /// It refuses it: something cannot be captured.
    Broken,
}

impl StreamState {
    /// Writes a launch down if the stream captures, or gives it back to be run.
    pub(crate) fn captured(&self, launch: Prepared) -> Result<Option<Prepared>, Code> {
        match &mut *self.capture() {
            Capture::None => Ok(Some(launch)),
            Capture::Active(launches) => {
                launches.push(Arc::new(launch));
                Ok(None)
            }
            Capture::Broken => Err(code::STREAM_CAPTURE_INVALIDATED),
        }
    }

    /// Breaks a capture by work that it cannot take.
    pub(crate) fn no_capture(&self) -> Result<(), Code> {
        let mut capture = self.capture();
        match *capture {
            Capture::None => Ok(()),
            Capture::Active(_) => {
                *capture = Capture::Broken;
                Err(code::STREAM_CAPTURE_UNSUPPORTED)
            }
            Capture::Broken => Err(code::STREAM_CAPTURE_INVALIDATED),
        }
    }

    fn capture(&self) -> MutexGuard<'_, Capture> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Launches, each after the one before. The same for those that can be launched: nothing is left to be compiled.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) context: Handle,
    launches: Vec<Arc<Prepared>>,
}

const MODES: std::ops::RangeInclusive<u32> = 0..=2;

pub(crate) extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: u32) -> Code {
    answer(|| {
        driver().current()?.alive()?;
        if !MODES.contains(&mode) {
            return Err(code::INVALID_VALUE);
        }
        // The default stream has no captures, the one of this thread apart, which is not told from it here.
        if stream <= 2 {
            return Err(code::STREAM_CAPTURE_UNSUPPORTED);
        }
        streams::with_any_state(stream, |state| match &mut *state.capture() {
            capture @ Capture::None => {
                *capture = Capture::Active(Vec::new());
                Ok(())
            }
            _ => Err(code::ILLEGAL_STATE),
        })?
    })
}

pub(crate) extern "C" fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.alive()?;
        graph.write(0)?;
        match streams::with_any_state(stream, |state| mem::take(&mut *state.capture()))? {
            Capture::None => Err(code::ILLEGAL_STATE),
            Capture::Broken => Err(code::STREAM_CAPTURE_INVALIDATED),
            Capture::Active(launches) => {
                let handle = driver().new_handle();
                driver().graphs.insert(handle, Graph { context: context.handle, launches });
                graph.write(handle)
            }
        }
    })
}

pub(crate) extern "C" fn cuStreamIsCapturing(stream: Handle, status: Out<u32>) -> Code {
    answer(|| {
        driver().current()?.alive()?;
        status.write(streams::with_any_state(stream, |state| match *state.capture() {
            Capture::None => 0,
            Capture::Active(_) => 1,
            Capture::Broken => 2,
        })?)
    })
}

pub(crate) extern "C" fn cuGraphInstantiateWithFlags(
    executable: Out<Handle>,
    graph: Handle,
    flags: u64,
) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.alive()?;
        if flags != 0 {
            return Err(code::INVALID_VALUE);
        }
        let graph = of_context(&context, driver().graphs.get(graph)?)?;
        let handle = driver().new_handle();
        executable.write(handle)?;
        let copy = Graph { context: graph.context, launches: graph.launches.clone() };
        driver().executables.insert(handle, copy);
        Ok(())
    })
}

/// A graph is one call, whatever it launches, but a fault in a kernel stops what comes after it.
pub(crate) extern "C" fn cuGraphLaunch(executable: Handle, stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::Launch)?;
        let graph = of_context(&context, driver().executables.get(executable)?)?;
        streams::with_state(stream, |state| state.delay(verdict))?;
        for launch in &graph.launches {
            launch.run(&context);
            if !context.is_good() {
                break;
            }
        }
        Ok(())
    })
}

fn of_context(context: &Context, graph: Arc<Graph>) -> Result<Arc<Graph>, Code> {
    if graph.context == context.handle { Ok(graph) } else { Err(code::INVALID_HANDLE) }
}

pub(crate) extern "C" fn cuGraphDestroy(graph: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        driver().graphs.remove(graph)?;
        context.alive()
    })
}

pub(crate) extern "C" fn cuGraphExecDestroy(executable: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        driver().executables.remove(executable)?;
        context.alive()
    })
}
