"""Quantizes or dequantizes with the `gguf` package, from standard input to standard output.

usage: gguf_oracle.py dequantize|quantize TYPE_ID     (f32 and blocks are raw little-endian bytes)
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

action, ty = sys.argv[1], GGMLQuantizationType(int(sys.argv[2]))
weights, size = GGML_QUANT_SIZES[ty]
data = sys.stdin.buffer.read()
with np.errstate(all="ignore"):
    if action == "dequantize":
        result = dequantize(np.frombuffer(data, np.uint8).reshape(-1, size), ty).astype(np.float32)
    else:
        result = quantize(np.frombuffer(data, np.float32).reshape(-1, weights), ty)
sys.stdout.buffer.write(result.tobytes())
