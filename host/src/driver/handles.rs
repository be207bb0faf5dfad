//! Handles that the driver gave out, held until nobody needs them.

use std::sync::Arc;

use cust::sys;

use super::call::call;
use crate::{DriverError, Error};

/// A device's primary context, retained.
#[derive(Debug)]
pub(crate) struct PrimaryContext {
    raw: sys::CUcontext,
    device: sys::CUdevice,
}

// SAFETY: the driver allows any thread to make a context current, also several at once; this type is only ever
// current inside `within`.
unsafe impl Send for PrimaryContext {}
// SAFETY: as above.
unsafe impl Sync for PrimaryContext {}

impl PrimaryContext {
    pub(crate) fn retain(device: sys::CUdevice) -> Result<Arc<Self>, Error> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` is writable; `Drop` pairs the call.
        unsafe { call!(cuDevicePrimaryCtxRetain(&mut raw, device)) }?;
        Ok(Arc::new(Self { raw, device }))
    }

    pub(crate) fn raw(&self) -> sys::CUcontext {
        self.raw
    }

    /// Runs `body` with this context current on the calling thread, and then restores what was current before.
    pub(crate) fn within<T>(&self, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        // SAFETY: the context is retained. `Entered` pairs the call.
        unsafe { call!(cuCtxPushCurrent_v2(self.raw)) }?;
        let entered = Entered;
        let value = body()?;
        std::mem::forget(entered);
        // A value that is not returned is dropped, and so given back to the driver.
        pop()?;
        Ok(value)
    }
}

impl Drop for PrimaryContext {
    fn drop(&mut self) {
        // A failure can only repeat an earlier one, or say that the process is ending: nobody is left to tell.
        // SAFETY: pairs the retain.
        let _ = unsafe { call!(cuDevicePrimaryCtxRelease_v2(self.device)) };
    }
}

/// Leaves the context when a body fails or unwinds.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = pop();
    }
}

fn pop() -> Result<(), DriverError> {
    let mut popped = std::ptr::null_mut();
    // SAFETY: `popped` is writable; whoever calls this has pushed.
    unsafe { call!(cuCtxPopCurrent_v2(&mut popped)) }
}

/// A handle that lives in a context and that the driver wants back.
pub(crate) trait Resource: Copy {
    /// Gives it back.
    ///
    /// # Safety
    /// The handle is valid, its context is current, and it is never used again.
    unsafe fn destroy(self) -> Result<(), DriverError>;
}

impl Resource for sys::CUdeviceptr {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuMemFree_v2(self)) }
    }
}

impl Resource for sys::CUmodule {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuModuleUnload(self)) }
    }
}

impl Resource for sys::CUstream {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuStreamDestroy_v2(self)) }
    }
}

impl Resource for sys::CUevent {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuEventDestroy_v2(self)) }
    }
}

impl Resource for sys::CUgraph {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuGraphDestroy(self)) }
    }
}

impl Resource for sys::CUgraphExec {
    unsafe fn destroy(self) -> Result<(), DriverError> {
        // SAFETY: the caller's.
        unsafe { call!(cuGraphExecDestroy(self)) }
    }
}

/// A valid handle and the context it lives in; destroyed on drop.
#[derive(Debug)]
pub(crate) struct Owned<R: Resource> {
    raw: R,
    context: Arc<PrimaryContext>,
}

// SAFETY: the driver's functions may be called from any thread with the context current, on one handle also from
// several at once.
unsafe impl<R: Resource> Send for Owned<R> {}
// SAFETY: as above.
unsafe impl<R: Resource> Sync for Owned<R> {}

impl<R: Resource> Owned<R> {
    /// # Safety
    /// `raw` is valid, belongs to `context`, and nobody else destroys it.
    pub(super) unsafe fn new(raw: R, context: &Arc<PrimaryContext>) -> Self {
        Self { raw, context: Arc::clone(context) }
    }

    pub(crate) fn raw(&self) -> R {
        self.raw
    }

    pub(crate) fn context(&self) -> &Arc<PrimaryContext> {
        &self.context
    }
}

impl<R: Resource> Drop for Owned<R> {
    fn drop(&mut self) {
        // As for the context: a failure here repeats an earlier one.
        let _ = self.context.within(|| {
            // SAFETY: valid until here, and this is its last use.
            unsafe { self.raw.destroy() }.map_err(Error::from)
        });
    }
}

/// A function of a module, which it keeps loaded.
#[derive(Clone, Debug)]
pub(crate) struct FunctionHandle {
    raw: sys::CUfunction,
    module: Arc<Owned<sys::CUmodule>>,
}

// SAFETY: as for `Owned`.
unsafe impl Send for FunctionHandle {}
// SAFETY: as for `Owned`.
unsafe impl Sync for FunctionHandle {}

impl FunctionHandle {
    /// # Safety
    /// `raw` is a function of `module`.
    pub(super) unsafe fn new(raw: sys::CUfunction, module: &Arc<Owned<sys::CUmodule>>) -> Self {
        Self { raw, module: Arc::clone(module) }
    }

    pub(crate) fn raw(&self) -> sys::CUfunction {
        self.raw
    }

    pub(crate) fn context(&self) -> &Arc<PrimaryContext> {
        self.module.context()
    }
}
