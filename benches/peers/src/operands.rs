//! The same product for each library.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::{DeviceMatrix, Isa, Numerics, Options, QuantizedMatrix};
use warpdot_cpu::Problem;
use warpdot_formats::{Format, FormatVisitor, GgmlType, RUN};
use warpdot_measure::check::{Product, Verdict};
use warpdot_measure::timing::Contender;

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

    /// How many activations meet these weights with one scale in ggml.
    pub fn rounded_together_by_ggml(&self) -> usize {
        /// Of the blocks that go with blocks of as many weights.
        const SUPER_BLOCK: usize = 256;
        if self.ty.block_weights() == SUPER_BLOCK { SUPER_BLOCK } else { RUN }
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

    /// How many activations it rounds to int8 with one scale: ggml, and candle after it, take 256 for formats with
    /// blocks of so many weights.
    fn rounded_together(&self) -> usize;
}

/// Checks the outputs of a library against an f64 product of the dequantized weights: each may be off by what
/// rounding the activations explains.
pub fn verify(operands: &Operands, peer: &dyn Peer) -> Result<Verdict, Box<dyn std::error::Error>> {
    /// Multiplications after which a sample of the outputs is checked.
    const CHECKED: u128 = 1 << 26;
    let Problem { m, n, k } = operands.problem;
    let weights = QuantizedMatrix::from_bytes(operands.ty, n, k, operands.weights.clone())?;
    let product = Product {
        weights: &weights,
        m,
        x: &operands.x,
        numerics: Numerics::Fast,
        rounded_together: peer.rounded_together(),
        whole: CHECKED,
    };
    let verdict = product.check(&[&peer.result()], SEED)?.remove(0);
    match &verdict.first {
        None => Ok(verdict),
        Some(first) => {
            let (kernel, wrong, checked) = (peer.kernel(), verdict.wrong, verdict.checked);
            Err(format!("{kernel}: {wrong} of {checked} outputs checked are wrong; the first: {first}")
                .into())
        }
    }
}

/// Our kernels.
pub struct Warpdot<'a> {
    operands: &'a Operands,
    kernel: String,
    options: Options,
    copies: Vec<DeviceMatrix>,
    next: usize,
    y: Vec<f32>,
}

impl<'a> Warpdot<'a> {
    /// The kernel that would be chosen for the product, of the instruction set that `WARPDOT_ISA` demands, if it does.
    pub fn new(
        operands: &'a Operands,
        copies: usize,
        numerics: Numerics,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let Problem { m, n, k } = operands.problem;
        let device = warpdot::Device::cpu_with(Isa::from_env()?);
        let matrix = QuantizedMatrix::from_bytes(operands.ty, n, k, operands.weights.clone())?;
        let copies: Vec<_> = (0..copies).map(|_| device.upload(&matrix)).collect::<Result<_, _>>()?;
        let (options, mut y) = (Options { numerics, ..Options::default() }, vec![0.0; m * n]);
        let kernel = copies[0].matmul_with(&options, m, &operands.x, &mut y)?.kernel.to_string();
        Ok(Self { operands, kernel, options, copies, next: 1, y })
    }
}

impl Contender for Warpdot<'_> {
    fn call(&mut self) {
        let Operands { problem, x, .. } = self.operands;
        let copy = &self.copies[self.next % self.copies.len()];
        self.next += 1;
        copy.matmul_with(&self.options, problem.m, x, &mut self.y).expect("a valid product");
    }
}

impl Peer for Warpdot<'_> {
    fn name(&self) -> &'static str {
        "warpdot"
    }

    fn kernel(&self) -> String {
        self.kernel.clone()
    }

    fn result(&self) -> Vec<f32> {
        self.y.clone()
    }

    fn rounded_together(&self) -> usize {
        RUN
    }
}

/// candle's kernels.
pub struct Candle {
    copies: Vec<QMatMul>,
    x: Tensor,
    rounded_together: usize,
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
            rounded_together: operands.rounded_together_by_ggml(),
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

    fn rounded_together(&self) -> usize {
        self.rounded_together
    }
}
