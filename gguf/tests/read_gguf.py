"""Prints what the `gguf` package finds in a file."""

import json
import sys

import gguf

reader = gguf.GGUFReader(sys.argv[1])
tensors = [
    {"name": t.name, "type": int(t.tensor_type), "dims": t.shape.tolist(), "bytes": t.data.tobytes().hex()}
    for t in reader.tensors
]
# Three header fields of the file itself are counted among its entries.
fields = [(key, field.contents()) for key, field in reader.fields.items() if not key.startswith("GGUF.")]
print(json.dumps({"fields": fields, "tensors": tensors}))
