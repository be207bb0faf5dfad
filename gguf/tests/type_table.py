"""Prints the number and the block (weights, bytes) of every type that the `gguf` package knows."""

import json

import gguf

sizes = gguf.GGML_QUANT_SIZES.items()
print(json.dumps({ty.name: {"id": int(ty), "block": list(block)} for ty, block in sizes}))
