use std::fmt;

use cust::sys::CUdevice_attribute;

use crate::{ComputeCapability, Context, Error, driver};

/// The version of CUDA that the driver supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverVersion {
    /// As in 13.0.
    pub major: u32,
    /// As in 13.0.
    pub minor: u32,
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Asks the driver for its version. Works without a GPU, if there is a driver.
///
/// # Errors
/// [`Error::NoDriver`], or what the driver answers.
pub fn driver_version() -> Result<DriverVersion, Error> {
    let version = driver::driver_version()?.unsigned_abs();
    Ok(DriverVersion { major: version / 1000, minor: version % 1000 / 10 })
}

/// A GPU that the driver shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    index: usize,
    raw: cust::sys::CUdevice,
}

impl Device {
    /// All devices, in the driver's order.
    ///
    /// # Errors
    /// [`Error::NoDriver`], or what the driver answers; a driver that finds no GPU answers `CUDA_ERROR_NO_DEVICE`.
    pub fn all() -> Result<Vec<Self>, Error> {
        driver::initialize()?;
        (0..driver::device_count()?).map(Self::at).collect()
    }

    /// The device of this index.
    ///
    /// # Errors
    /// As for [`Device::all`], and [`Error::NoSuchDevice`].
    pub fn get(index: usize) -> Result<Self, Error> {
        driver::initialize()?;
        let count = driver::device_count()?;
        if index < count { Self::at(index) } else { Err(Error::NoSuchDevice { index, count }) }
    }

    fn at(index: usize) -> Result<Self, Error> {
        // The driver counts in i32, so an index below its count is one.
        let raw = driver::device(index as i32)?;
        Ok(Self { index, raw })
    }

    /// Its index.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name, such as "NVIDIA H100 80GB HBM3".
    ///
    /// # Errors
    /// What the driver answers.
    pub fn name(&self) -> Result<String, Error> {
        driver::device_name(self.raw)
    }

    /// What it can do.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn compute_capability(&self) -> Result<ComputeCapability, Error> {
        Ok(ComputeCapability {
            major: self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        })
    }

    /// The bytes of memory that it has, used or not.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn memory(&self) -> Result<usize, Error> {
        driver::device_memory(self.raw)
    }

    /// The number of its streaming multiprocessors.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn multiprocessors(&self) -> Result<u32, Error> {
        self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// Retains the device's primary context: the one that it shares with everybody else in this process who uses
    /// the CUDA runtime, or this function.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn context(&self) -> Result<Context, Error> {
        Context::retain(*self, self.raw)
    }

    fn attribute(&self, attribute: CUdevice_attribute) -> Result<u32, Error> {
        driver::device_attribute(self.raw, attribute)
    }
}
