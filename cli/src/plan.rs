//! What becomes of each tensor of a file that is quantized: the rules of llama.cpp's [`llama-quantize --pure`].
//!
//! They were read off [its source]: which tensors it keeps, and which type it falls back to where rows are not whole
//! blocks. Where it gives up, a block of 32 that does not fit for one, the fallback here is F16, as it is there for
//! larger blocks.
//!
//! [`llama-quantize --pure`]: https://github.com/ggml-org/llama.cpp/tree/master/tools/quantize
//! [its source]: https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp

use crate::{args::names, error::Error, floats::Floats};
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_formats::FloatType;
use warpdot_gguf::{Tensor, TensorType};

/// What becomes of a tensor.
pub(crate) enum Plan {
    /// It is copied, for this reason.
    Keep(&'static str),
    /// It is converted to another type.
    Convert {
        from: Floats,
        to: Target,
        /// Why the type is not the one that was asked for, if it is not.
        fallback: Option<String>,
    },
}

/// A type that tensors are converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Blocks(GgmlType),
    Floats(FloatType),
}

impl Target {
    pub(crate) fn tensor_type(self) -> TensorType {
        match self {
            Self::Blocks(ty) => ty.into(),
            Self::Floats(ty) => ty.into(),
        }
    }

    /// The type called `name`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        FloatType::from_name(name).map(Self::Floats).or(GgmlType::from_name(name).map(Self::Blocks))
    }

    /// The names of all, for people.
    pub(crate) fn names() -> String {
        let floats = FloatType::ALL.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
        format!("{}, {floats}", names(GgmlType::ALL))
    }
}

/// What llama.cpp says about a type.
struct Rule {
    ty: &'static str,
    /// The number of the file type "mostly of this type", of its least mixed variant.
    file_type: u32,
    /// The type for rows that are not whole blocks.
    fallback: Option<&'static str>,
}

const fn rule(ty: &'static str, file_type: u32, fallback: Option<&'static str>) -> Rule {
    Rule { ty, file_type, fallback }
}

const RULES: &[Rule] = &[
    rule("Q4_0", 2, None),
    rule("Q4_1", 3, None),
    rule("Q8_0", 7, None),
    rule("Q5_0", 8, None),
    rule("Q5_1", 9, None),
    rule("Q2_K", 21, Some("Q4_0")),
    rule("Q3_K", 11, Some("Q4_0")),
    rule("Q4_K", 14, Some("Q5_0")),
    rule("Q5_K", 16, Some("Q5_1")),
    rule("Q6_K", 18, Some("Q8_0")),
    rule("IQ2_XXS", 19, Some("IQ4_NL")),
    rule("IQ2_XS", 20, Some("IQ4_NL")),
    rule("IQ3_XXS", 23, Some("IQ4_NL")),
    rule("IQ1_S", 24, Some("IQ4_NL")),
    rule("IQ4_NL", 25, None),
    rule("IQ3_S", 26, Some("IQ4_NL")),
    rule("IQ2_S", 28, Some("IQ4_NL")),
    rule("IQ4_XS", 30, Some("IQ4_NL")),
    rule("IQ1_M", 31, Some("IQ4_NL")),
    rule("TQ1_0", 36, Some("Q4_0")),
    rule("TQ2_0", 37, Some("Q4_0")),
    rule("MXFP4", 38, None),
    rule("NVFP4", 39, None),
    rule("Q1_0", 40, None),
    rule("Q2_0", 41, Some("Q4_0")),
];

/// llama.cpp's number for "not specified".
const GUESSED: u32 = 1024;

fn rule_for(ty: GgmlType) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.ty == ty.name())
}

/// The `general.file_type` of a file whose matrices are of type `ty`.
pub(crate) fn file_type(ty: Target) -> u32 {
    match ty {
        Target::Floats(FloatType::F32) => 0,
        Target::Floats(FloatType::F16) => 1,
        Target::Floats(FloatType::Bf16) => 32,
        Target::Blocks(ty) => rule_for(ty).map_or(GUESSED, |rule| rule.file_type),
    }
}

/// Matrices that llama-quantize keeps, being small or delicate: parts of their names.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// As [`KEPT`], but whole names: positions and token types.
const KEPT_WHOLE: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Why a tensor is not quantized, whatever its type, if it is not.
fn reason_to_keep(tensor: &Tensor) -> Option<&'static str> {
    let (dims, name) = (tensor.dims(), tensor.name());
    if dims.contains(&0) {
        Some("no weights")
    } else if dims.iter().skip(1).all(|&dim| dim == 1) {
        Some("one dimension")
    } else if !name.ends_with("weight") {
        Some("name does not end with `weight`")
    } else if KEPT_WHOLE.contains(&name) || KEPT.iter().any(|part| name.contains(part)) {
        Some("llama-quantize keeps it")
    } else {
        None
    }
}

/// The type for rows of k weights, and why it is not `ty`, if it is not.
fn target(ty: Target, k: usize) -> (Target, Option<String>) {
    let Target::Blocks(ty) = ty else { return (ty, None) };
    let fits = |ty: GgmlType| k.is_multiple_of(ty.block_weights());
    if fits(ty) {
        return (Target::Blocks(ty), None);
    }
    let why = format!("k = {k} is not whole blocks of {ty}");
    let fallback = rule_for(ty).and_then(|rule| rule.fallback).and_then(GgmlType::from_name);
    let to = fallback.filter(|ty| fits(*ty)).map_or(Target::Floats(FloatType::F16), Target::Blocks);
    (to, Some(why))
}

/// Decides about a tensor of a known size.
pub(crate) fn plan(tensor: &Tensor, ty: Target, allow_requantize: bool) -> Result<Plan, Error> {
    if let Some(reason) = reason_to_keep(tensor) {
        return Ok(Plan::Keep(reason));
    }
    let in_file = |source| Error::Gguf { path: tensor.name().into(), source };
    let (n, k) = tensor.shape().map_err(in_file)?;
    let (to, fallback) = target(ty, k);
    if tensor.ty() == to.tensor_type() {
        return Ok(Plan::Keep("of that type already"));
    }
    let bytes = tensor.bytes().map_err(in_file)?;
    let from = match (tensor.ty().float(), tensor.ty().format()) {
        (Some(ty), _) => Floats::Plain(ty, bytes),
        (_, Some(ty)) if allow_requantize => {
            let matrix = QuantizedMatrix::from_bytes(ty, n, k, bytes);
            Floats::Blocks(matrix.map_err(|error| Error::from(error).in_tensor(tensor.name()))?)
        }
        (_, Some(_)) => {
            let (name, from) = (tensor.name().to_owned(), tensor.ty().to_string());
            return Err(Error::Quantized { name, ty: from, to: to.tensor_type().to_string() });
        }
        (None, None) => {
            let expected = names(GgmlType::ALL);
            let (name, ty) = (tensor.name().to_owned(), tensor.ty().to_string());
            return Err(Error::NoDequantization { name, ty, expected });
        }
    };
    Ok(Plan::Convert { from, to, fallback })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_rule_and_every_fallback_a_smaller_block() {
        for &ty in GgmlType::ALL {
            let rule = rule_for(ty).unwrap_or_else(|| panic!("no rule for {ty}"));
            assert_ne!(file_type(Target::Blocks(ty)), GUESSED);
            if let Some(name) = rule.fallback {
                let fallback = GgmlType::from_name(name).unwrap_or_else(|| panic!("no format {name}"));
                assert!(fallback.block_weights() < ty.block_weights(), "{ty} -> {fallback}");
            }
        }
        let mut numbers: Vec<_> = RULES.iter().map(|rule| rule.file_type).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), RULES.len(), "each file type once");
    }

    #[test]
    fn rows_decide_about_the_type() {
        let why = |k, ty: GgmlType| format!("k = {k} is not whole blocks of {ty}");
        for &ty in GgmlType::ALL {
            let block = ty.block_weights();
            assert_eq!(target(Target::Blocks(ty), 3 * block), (Target::Blocks(ty), None));
            assert_eq!(
                target(Target::Blocks(ty), 3 * block + 1),
                (Target::Floats(FloatType::F16), Some(why(3 * block + 1, ty)))
            );
        }
        assert_eq!(
            target(Target::Blocks(GgmlType::Q6K), 384),
            (Target::Blocks(GgmlType::Q8_0), Some(why(384, GgmlType::Q6K)))
        );
        assert_eq!(
            target(Target::Blocks(GgmlType::Q4K), 384),
            (Target::Blocks(GgmlType::Q5_0), Some(why(384, GgmlType::Q4K)))
        );
    }
}
