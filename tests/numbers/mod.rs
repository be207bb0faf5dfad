//! Matrices of plain numbers in a GPU's memory, with gaps between their rows that must stay.

use half::{bf16, f16};
use rand::RngExt;
use rand::rngs::StdRng;
use warpdot::cuda::{Buffer, Tensor};
use warpdot::{Device, FloatType};

/// What lies between rows, and must stay.
const GAP: u8 = 0xa5;

pub(crate) fn to_bytes(ty: FloatType, number: f32) -> Vec<u8> {
    match ty {
        FloatType::F32 => number.to_le_bytes().to_vec(),
        FloatType::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
        FloatType::Bf16 => bf16::from_f32(number).to_le_bytes().to_vec(),
    }
}

pub(crate) fn to_number(ty: FloatType, bytes: &[u8]) -> f32 {
    match ty {
        FloatType::F32 => f32::from_le_bytes(bytes.try_into().expect("four bytes")),
        FloatType::F16 => f16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f32(),
        FloatType::Bf16 => bf16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f32(),
    }
}

/// A matrix on the device, with gaps between its rows.
pub(crate) struct Numbers {
    pub(crate) ty: FloatType,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
    /// As they are after rounding to the type.
    pub(crate) host: Vec<f32>,
    pub(crate) buffer: Buffer<u8>,
}

impl Numbers {
    pub(crate) fn new(
        device: &Device,
        ty: FloatType,
        rows: usize,
        columns: usize,
        gap: usize,
        rng: &mut StdRng,
    ) -> Self {
        let host: Vec<f32> =
            (0..rows * columns).map(|_| rng.random_range(-1f32..1.0).powi(3) * 4.0).collect();
        Self::of(device, ty, columns, gap, &host)
    }

    /// These numbers, rounded to the type.
    pub(crate) fn of(device: &Device, ty: FloatType, columns: usize, gap: usize, host: &[f32]) -> Self {
        let (rows, stride) = (host.len() / columns, columns + gap);
        let mut bytes = vec![GAP; rows * stride * ty.bytes()];
        let mut rounded = Vec::new();
        for (row, bytes) in host.chunks_exact(columns).zip(bytes.chunks_exact_mut(stride * ty.bytes())) {
            for (number, bytes) in row.iter().zip(bytes.chunks_exact_mut(ty.bytes())) {
                bytes.copy_from_slice(&to_bytes(ty, *number));
                rounded.push(to_number(ty, bytes));
            }
        }
        let mut buffer = device.cuda_context().expect("a GPU").alloc(bytes.len()).expect("memory");
        buffer.write(&bytes).expect("a copy");
        Self { ty, rows, columns, stride, host: rounded, buffer }
    }

    pub(crate) fn tensor(&self) -> Tensor {
        let tensor = Tensor::new(self.buffer.as_raw(), self.ty, self.rows, self.columns);
        Tensor { stride: self.stride, ..tensor }
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.host[if self.rows == 1 { 0 } else { row } * self.columns + column]
    }

    /// Its bytes now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.buffer.len()];
        self.buffer.read(&mut bytes).expect("a copy");
        bytes
    }

    /// What is not as expected: numbers by their bits, but for those of NaN, and the gaps.
    pub(crate) fn wrong(&self, expected: impl Fn(usize, usize) -> f32) -> Option<String> {
        let (bytes, size) = (self.bytes(), self.ty.bytes());
        for (row, bytes) in bytes.chunks_exact(self.stride * size).enumerate() {
            for (column, found) in bytes.chunks_exact(size).enumerate() {
                let expected = match column < self.columns {
                    true => to_bytes(self.ty, expected(row, column)),
                    false => vec![GAP; size],
                };
                if found != expected {
                    let [found, expected] = [found, &expected].map(|bytes| to_number(self.ty, bytes));
                    if found.is_nan() && expected.is_nan() && column < self.columns {
                        continue;
                    }
                    return Some(format!("({row}, {column}) is {found:e}, expected {expected:e}"));
                }
            }
        }
        None
    }
}
