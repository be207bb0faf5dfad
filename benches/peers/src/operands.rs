//! The same product for each library.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Error, Isa, Kernel, Numerics, Problem, Workspace};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

const SEED: u64 = 1;

/// Weights and activations.
pub(crate) struct Operands {
    ty: GgmlType,
    problem: Problem,
    weights: Vec<u8>,
    x: Vec<f32>,
    cold_bytes: usize,
}

impl Operands {
    pub(crate) fn new(ty: GgmlType, problem: Problem, cold_bytes: usize) -> Self {
        struct Quantize<'a>(&'a [f32]);
        impl FormatVisitor for Quantize<'_> {
            type Output = Vec<u8>;
            fn visit<F: Format>(self) -> Vec<u8> {
                let blocks: Vec<F> = self.0.chunks_exact(F::WEIGHTS).map(F::quantize).collect();
                bytemuck::cast_slice(&blocks).to_vec()
            }
        }
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut uniform = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        // Some rows over and over: their quantization takes longer than the products.
        let rows = ty.visit(Quantize(&uniform(61 * problem.k)));
        let bytes = rows.len() / 61 * problem.n;
        let weights = rows.into_iter().cycle().take(bytes).collect();
        Self { ty, problem, weights, x: uniform(problem.m * problem.k), cold_bytes }
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.weights.len()
    }

    /// How many copies exceed the caches.
    pub(crate) fn copies(&self) -> usize {
        self.cold_bytes / self.bytes() + 1
    }

    /// Both results must be the same, but for the different rounding of activations.
    pub(crate) fn verify(&self, ours: &[f32], theirs: &[f32]) -> Result<(), String> {
        let error: f64 = ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let norm: f64 = ours.iter().map(|y| f64::from(*y).powi(2)).sum();
        // Each rounds activations to int8, per 32 or per 256.
        let close = ours.len() == theirs.len() && error < 1e-3 * norm;
        if close { Ok(()) } else { Err(format!("{}: the results differ by {:e}", self.ty, error / norm)) }
    }
}

/// Our kernels on copies of the weights.
pub(crate) struct Warpdot<'a> {
    operands: &'a Operands,
    kernel: Kernel,
    workspace: Workspace,
    copies: Vec<Vec<u64>>,
    next: usize,
    y: Vec<f32>,
}

impl<'a> Warpdot<'a> {
    pub(crate) fn new(operands: &'a Operands, copies: usize) -> Result<Self, Error> {
        let problem = operands.problem;
        let copy = || {
            let mut words = vec![0; operands.bytes().div_ceil(size_of::<u64>())];
            bytemuck::cast_slice_mut(&mut words)[..operands.bytes()].copy_from_slice(&operands.weights);
            words
        };
        Ok(Self {
            operands,
            kernel: Kernel::choose(Isa::from_env()?, Numerics::Fast, problem),
            workspace: Workspace::new(),
            copies: (0..copies).map(|_| copy()).collect(),
            next: 0,
            y: vec![0.0; problem.m * problem.n],
        })
    }

    pub(crate) fn id(&self) -> String {
        self.kernel.id(self.operands.ty)
    }

    pub(crate) fn call(&mut self) -> Vec<f32> {
        let Operands { ty, problem, x, .. } = self.operands;
        let weights =
            &bytemuck::cast_slice(&self.copies[self.next % self.copies.len()])[..self.operands.bytes()];
        self.next += 1;
        self.kernel
            .matmul_bytes(*ty, &mut self.workspace, *problem, weights, x, &mut self.y)
            .expect("a valid product");
        self.y.clone()
    }
}

/// candle's kernels on copies of the weights.
pub(crate) struct Candle {
    copies: Vec<QMatMul>,
    x: Tensor,
    next: usize,
}

impl Candle {
    pub(crate) fn new(operands: &Operands, copies: usize) -> candle_core::Result<Self> {
        let Problem { m, n, k } = operands.problem;
        let dtype = match operands.ty {
            GgmlType::Q4_0 => GgmlDType::Q4_0,
            GgmlType::Q8_0 => GgmlDType::Q8_0,
            GgmlType::Q4K => GgmlDType::Q4K,
            GgmlType::Q6K => GgmlDType::Q6K,
            other => candle_core::bail!("no counterpart of {other}"),
        };
        let copy = || {
            let storage = QStorage::from_data(Cow::Borrowed(&operands.weights), &Device::Cpu, dtype)?;
            QMatMul::from_arc(Arc::new(QTensor::new(storage, (n, k))?))
        };
        Ok(Self {
            copies: (0..copies).map(|_| copy()).collect::<candle_core::Result<_>>()?,
            x: Tensor::from_slice(&operands.x, (m, k), &Device::Cpu)?,
            next: 0,
        })
    }

    pub(crate) fn call(&mut self) -> Vec<f32> {
        let matrix = &self.copies[self.next % self.copies.len()];
        self.next += 1;
        let y = matrix.forward(&self.x).expect("a valid product");
        y.flatten_all().and_then(|y| y.to_vec1()).expect("a matrix of f32")
    }
}
