//! What the host passes to kernels by value, besides addresses and sizes.

/// A row-major matrix of plain numbers in global memory.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct View {
    /// Of the first number; 0 for a matrix that is absent.
    pub address: u64,
    /// Numbers from the start of a row to that of the next; 0 for a row that serves all.
    pub stride: u32,
    /// [`FloatType::id`](warpdot_formats::FloatType::id) of the numbers.
    pub ty: u32,
}

/// Some consecutive rows of packed weights: how many is said elsewhere.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct WeightRows {
    /// Of the whole matrix that they belong to; 0 for weights that are absent.
    pub address: u64,
    /// Rows of that matrix, which its layout depends on.
    pub of: u32,
    /// The first of them.
    pub first: u32,
}

/// Where products go, and what meets them on the way: see [`warpdot_formats::epilogue`].
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Ending {
    /// `[m, n]`
    pub y: View,
    /// Like Y, or absent.
    pub bias: View,
    /// Like Y, or absent. With [`up`](Self::up), scratch memory for as many products.
    pub factor: View,
    /// Like Y, or absent. Its elements may be those of Y: each is read before it is written, by the same thread.
    pub residual: View,
    /// As many rows of weights as those of the product, or absent: the products with them are the factor, and are
    /// computed first. They lie like those of the product: the numbers of the first ones differ by a multiple of four.
    pub up: WeightRows,
    /// Multiplies products.
    pub scale: f32,
    /// [`Activation::id`](warpdot_formats::epilogue::Activation::id).
    pub activation: u32,
}

#[cfg(not(target_arch = "nvptx64"))]
impl Ending {
    /// What stores products as the factors of this.
    pub fn of_factors(&self) -> Self {
        Self { y: self.factor, scale: 1.0, ..bytemuck::Zeroable::zeroed() }
    }
}
