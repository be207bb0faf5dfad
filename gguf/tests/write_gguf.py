"""Writes a GGUF file with every kind of value and several types of tensor; prints what is in it."""

import json
import sys

import gguf
import numpy as np

ALIGNMENT = 64

writer = gguf.GGUFWriter(sys.argv[1], "bert")
writer.add_custom_alignment(ALIGNMENT)
writer.add_uint8("a.u8", 200)
writer.add_int8("a.i8", -100)
writer.add_uint16("a.u16", 60_000)
writer.add_int16("a.i16", -30_000)
writer.add_uint32("a.u32", 4_000_000_000)
writer.add_int32("a.i32", -2_000_000_000)
writer.add_uint64("a.u64", 1 << 63)
writer.add_key_value("a.i64", -(1 << 63), gguf.GGUFValueType.INT64)
writer.add_float32("a.f32", 0.1)
writer.add_float64("a.f64", 0.1)
writer.add_bool("a.bool", True)
writer.add_string("a.text", "größer ≠ kleiner")
writer.add_array("b.ints", [1, -2, 3])
writer.add_array("b.floats", [0.5, -1.5])
writer.add_array("b.bools", [True, False])
writer.add_array("b.texts", ["eins", "", "drei"])

rng = np.random.default_rng(1)
weights = rng.standard_normal((5, 96)).astype(np.float32)
tensors = [
    ("plain", weights, None),
    ("half", weights.astype(np.float16), None),
    ("vector", weights[0], None),
    ("cube", weights.reshape(5, 3, 32), None),
]
for quantized in (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0):
    tensors.append((quantized.name, gguf.quants.quantize(weights, quantized), quantized))
for name, data, raw_type in tensors:
    writer.add_tensor(name, data, raw_dtype=raw_type)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

reader = gguf.GGUFReader(sys.argv[1])
listed = [
    {"name": t.name, "type": int(t.tensor_type), "dims": t.shape.tolist(), "bytes": t.data.tobytes().hex()}
    for t in reader.tensors
]
# The reader counts three header fields of the file itself among its entries.
entries = sum(not name.startswith("GGUF.") for name in reader.fields)
print(json.dumps({"alignment": ALIGNMENT, "entries": entries, "tensors": listed}))
