use std::sync::Arc;
use std::time::Duration;

use cust::sys;

use crate::driver::{self, Owned, PrimaryContext};
use crate::{Error, Stream};

/// A point in a stream's work, whose time the device notes. The resolution is about half a microsecond.
#[derive(Debug)]
pub struct Event {
    raw: Owned<sys::CUevent>,
}

impl Event {
    pub(crate) fn new(context: &Arc<PrimaryContext>) -> Result<Self, Error> {
        Ok(Self { raw: driver::create_event(context)? })
    }

    /// Queues the event: it happens when the stream's earlier work is done. Recorded again, it forgets the first
    /// time.
    ///
    /// # Errors
    /// [`Error::ForeignContext`], or what the driver answers.
    pub fn record(&self, stream: &Stream) -> Result<(), Error> {
        driver::record_event(&self.raw, &stream.raw)
    }

    /// Waits until the event has happened.
    ///
    /// # Errors
    /// What the driver answers, the failure of queued work included.
    pub fn synchronize(&self) -> Result<(), Error> {
        driver::synchronize_event(&self.raw)
    }

    /// Waits for both events, and returns the device's time between them.
    ///
    /// # Errors
    /// [`Error::EventOrder`] if this one happened first; [`Error::ForeignContext`]; or what the driver answers:
    /// `CUDA_ERROR_INVALID_HANDLE` for an event that was not recorded.
    pub fn elapsed_since(&self, earlier: &Event) -> Result<Duration, Error> {
        earlier.synchronize()?;
        self.synchronize()?;
        let milliseconds = driver::elapsed_milliseconds(&earlier.raw, &self.raw)?;
        Duration::try_from_secs_f64(f64::from(milliseconds) / 1e3)
            .map_err(|_| Error::EventOrder { milliseconds: -milliseconds })
    }

    /// The driver's handle. It is valid as long as the event exists.
    pub fn as_raw(&self) -> sys::CUevent {
        self.raw.raw()
    }
}
