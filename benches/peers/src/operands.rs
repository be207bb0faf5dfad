//! The same product for each library.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Error, Isa, Kernel, Numerics, Problem, Workspace};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

use crate::timing::Contender;

const SEED: u64 = 1;

/// Weights and activations.
pub struct Operands {
    /// The weights' format.
    pub ty: GgmlType,
    /// The sizes.
    pub problem: Problem,
    /// n rows of blocks.
    pub weights: Vec<u8>,
    /// m rows of k.
    pub x: Vec<f32>,
}

impl Operands {
    /// Uniform weights and activations.
    pub fn new(ty: GgmlType, problem: Problem) -> Self {
        struct Quantize<'a>(&'a [f32]);
        impl FormatVisitor for Quantize<'_> {
            type Output = Vec<u8>;
            fn visit<F: Format>(self) -> Vec<u8> {
                let blocks: Vec<F> = self.0.chunks_exact(F::WEIGHTS).map(F::quantize).collect();
                bytemuck::cast_slice(&blocks).to_vec()
            }
        }
        /// Some rows over and over: their quantization takes longer than the products.
        const ROWS: usize = 61;
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut uniform = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let rows = ty.visit(Quantize(&uniform(ROWS * problem.k)));
        let bytes = rows.len() / ROWS * problem.n;
        let weights = rows.into_iter().cycle().take(bytes).collect();
        Self { ty, problem, weights, x: uniform(problem.m * problem.k) }
    }
}

/// A library that computes the product, again and again, going round copies of the weights.
pub trait Peer: Contender {
    /// The library.
    fn name(&self) -> &'static str;

    /// What it computes with.
    fn kernel(&self) -> String;

    /// The last call's Y, m rows of n.
    fn result(&self) -> Vec<f32>;
}

/// Both results must be the same, but for the different rounding of activations.
pub fn verify(ours: &dyn Peer, theirs: &dyn Peer) -> Result<(), String> {
    let (y, other) = (ours.result(), theirs.result());
    let error: f64 = y.iter().zip(&other).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = y.iter().map(|y| f64::from(*y).powi(2)).sum();
    // Each rounds activations to int8, per 32 or per 256.
    if y.len() == other.len() && error < 1e-3 * norm {
        return Ok(());
    }
    let (ours, theirs) = (ours.kernel(), theirs.kernel());
    Err(format!("the results of {ours} and {theirs} differ by {:e}", error / norm))
}

/// Our kernels.
pub struct Warpdot<'a> {
    operands: &'a Operands,
    kernel: Kernel,
    workspace: Workspace,
    copies: Vec<Vec<u64>>,
    next: usize,
    y: Vec<f32>,
}

impl<'a> Warpdot<'a> {
    /// The kernel that would be chosen for the product.
    pub fn new(operands: &'a Operands, copies: usize, numerics: Numerics) -> Result<Self, Error> {
        let (problem, bytes) = (operands.problem, operands.weights.len());
        let copy = || {
            let mut words = vec![0; bytes.div_ceil(size_of::<u64>())];
            bytemuck::cast_slice_mut(&mut words)[..bytes].copy_from_slice(&operands.weights);
            words
        };
        Ok(Self {
            operands,
            kernel: Kernel::choose(Isa::from_env()?, numerics, problem),
            workspace: Workspace::new(),
            copies: (0..copies).map(|_| copy()).collect(),
            next: 0,
            y: vec![0.0; problem.m * problem.n],
        })
    }
}

impl Contender for Warpdot<'_> {
    fn call(&mut self) {
        let Operands { ty, problem, x, weights } = self.operands;
        let copy = bytemuck::cast_slice(&self.copies[self.next % self.copies.len()]);
        self.next += 1;
        self.kernel
            .matmul_bytes(*ty, &mut self.workspace, *problem, &copy[..weights.len()], x, &mut self.y)
            .expect("a valid product");
    }
}

impl Peer for Warpdot<'_> {
    fn name(&self) -> &'static str {
        "warpdot"
    }

    fn kernel(&self) -> String {
        self.kernel.id(self.operands.ty)
    }

    fn result(&self) -> Vec<f32> {
        self.y.clone()
    }
}

/// candle's kernels.
pub struct Candle {
    copies: Vec<QMatMul>,
    x: Tensor,
    next: usize,
    y: Option<Tensor>,
}

impl Candle {
    /// `None` if candle does not know the format.
    pub fn new(operands: &Operands, copies: usize) -> candle_core::Result<Option<Self>> {
        let Problem { m, n, k } = operands.problem;
        let Some(dtype) = candle_type(operands.ty) else { return Ok(None) };
        let copy = || {
            let storage = QStorage::from_data(Cow::Borrowed(&operands.weights), &Device::Cpu, dtype)?;
            QMatMul::from_arc(Arc::new(QTensor::new(storage, (n, k))?))
        };
        Ok(Some(Self {
            copies: (0..copies).map(|_| copy()).collect::<candle_core::Result<_>>()?,
            x: Tensor::from_slice(&operands.x, (m, k), &Device::Cpu)?,
            next: 0,
            y: None,
        }))
    }
}

/// candle's name for a format, if it has one.
pub fn candle_type(ty: GgmlType) -> Option<GgmlDType> {
    Some(match ty {
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q2K => GgmlDType::Q2K,
        GgmlType::Q3K => GgmlDType::Q3K,
        GgmlType::Q4K => GgmlDType::Q4K,
        GgmlType::Q5K => GgmlDType::Q5K,
        GgmlType::Q6K => GgmlDType::Q6K,
        _ => return None,
    })
}

impl Contender for Candle {
    fn call(&mut self) {
        let matrix = &self.copies[self.next % self.copies.len()];
        self.next += 1;
        self.y = Some(matrix.forward(&self.x).expect("a valid product"));
    }
}

impl Peer for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn kernel(&self) -> String {
        "candle".to_owned()
    }

    fn result(&self) -> Vec<f32> {
        let y = self.y.as_ref().expect("a call before");
        y.flatten_all().and_then(|y| y.to_vec1()).expect("a matrix of f32")
    }
}
