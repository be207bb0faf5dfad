use std::ffi::CString;
use std::sync::Arc;

use cust::sys;

use crate::driver::{self, FunctionHandle, Owned, PrimaryContext};
use crate::{Argument, Error, Launch};

/// PTX, compiled and loaded. Unloaded when it and all its functions are dropped.
#[derive(Clone, Debug)]
pub struct Module {
    raw: Arc<Owned<sys::CUmodule>>,
}

impl Module {
    pub(crate) fn load(context: &Arc<PrimaryContext>, ptx: &str) -> Result<Self, Error> {
        let ptx = zero_terminated("the PTX", ptx)?;
        Ok(Self { raw: Arc::new(driver::load_module(context, &ptx)?) })
    }

    /// The kernel of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchFunction`], [`Error::ZeroByte`].
    pub fn function(&self, name: &str) -> Result<Function, Error> {
        let raw = driver::function(&self.raw, &zero_terminated("the function's name", name)?)?;
        Ok(Function { raw, name: name.into() })
    }
}

/// A kernel of a loaded module.
#[derive(Clone, Debug)]
pub struct Function {
    pub(crate) raw: FunctionHandle,
    name: Arc<str>,
}

impl Function {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues a launch on a stream that this crate does not own, as [`Stream::launch`](crate::Stream::launch) does on
    /// one that it owns: of cudarc or cust, for example, or null for the context's default stream.
    ///
    /// # Errors
    /// [`Error::Launch`], also for a stream of another context.
    ///
    /// # Safety
    /// As for [`Stream::launch`](crate::Stream::launch), and the stream exists.
    pub unsafe fn launch_on(
        &self,
        stream: sys::CUstream,
        launch: Launch,
        arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { driver::launch_on(stream, &self.raw, &self.name, launch, arguments) }
    }

    /// Lets launches have up to `bytes` of dynamic shared memory, for more than the 48 KB that every launch may have.
    ///
    /// # Errors
    /// [`Error::Driver`] if a block of the device cannot have as much.
    pub fn allow_shared_bytes(&self, bytes: u32) -> Result<(), Error> {
        driver::allow_shared_bytes(&self.raw, bytes)
    }

    /// The driver's handle. It is valid as long as this function, or its module, exists.
    pub fn as_raw(&self) -> sys::CUfunction {
        self.raw.raw()
    }
}

fn zero_terminated(what: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|error| Error::ZeroByte { what, position: error.nul_position() })
}
