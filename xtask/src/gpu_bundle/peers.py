#!/usr/bin/env python3
"""Times what torch has for the products that `warpdot bench` times, on the same card: bf16 by cuBLAS and 4-bit weights.

    peers.py OUTPUT [--shapes MxNxK,...] [--rounds N]

It appends lines of JSON to OUTPUT: the median of some rounds for each kernel that gave the right products, beside a plain
read of the same bytes in the same rounds. Calls are in CUDA graphs and go round copies of the weights that exceed the
L2 cache several times. What cannot be measured is said on standard error, with the reason, and has no line; the exit
status is 1 if products were wrong, 0 else. The environment variables DRIVER and COMMIT go into the lines.
"""

import argparse
import datetime
import json
import os
import statistics
import sys

SHAPES = "1x4096x4096,8x4096x4096,1x8192x8192,8x8192x8192,1x8192x28672,8x8192x28672,1x16384x16384,8x16384x16384"
GROUP = 128  # weights of torch's 4-bit kernel that share a scale and a zero point
INNER_TILES = 8
CALLS = 32  # in a graph, if the copies are not more
LEAST_BYTES = 256 << 20
TOLERANCE = 0.01  # of the norm: bf16 outputs are off by 0.002


def parse_shapes(text):
    shapes = [tuple(int(size) for size in shape.split("x")) for shape in text.split(",")]
    if any(len(shape) != 3 or min(shape) < 1 for shape in shapes):
        raise argparse.ArgumentTypeError(f"{text!r}: expected MxNxK,... such as 1x4096x4096")
    return shapes


def copies_of(weight_bytes, l2_bytes):
    """How many copies of some weights are to be gone round so that none is in the cache when its turn comes."""
    return max(LEAST_BYTES, 4 * l2_bytes) // weight_bytes + 1


def calls_with(copies):
    """The calls in a graph: all copies equally often, and not fewer than CALLS."""
    return -(-CALLS // copies) * copies


def record(kernel, shape, seconds, ceiling_seconds, weight_bytes, machine):
    m, n, k = shape
    rate = lambda time: None if time is None else weight_bytes / time / 1e9
    return {
        "impl": machine["impl"],
        "kernel": kernel.name,
        "numerics": "bf16",
        "type": kernel.type,
        "m": m,
        "n": n,
        "k": k,
        "ms": seconds * 1e3,
        "gbps": rate(seconds),
        "ceiling_gbps": rate(ceiling_seconds),
        "device": machine["device"],
        "driver": machine["driver"],
        "commit": machine["commit"],
        "date": machine["date"],
    }


class Bf16:
    """torch.mm, which is cuBLAS."""

    name, type = "torch-mm-cublas", "BF16"

    def __init__(self, torch, n, k, copies):
        self.torch = torch
        self.weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]

    @staticmethod
    def weight_bytes(n, k):
        return 2 * n * k

    def call(self, which, x, y):
        self.torch.mm(x, self.weights[which].t(), out=y)
        return y

    def dequantized(self):
        return self.weights[0].double()

    def memory(self):
        return self.weights


class Int4:
    """torch's own 4-bit kernel for weights alone."""

    name, type = f"torch-weight-int4pack-g{GROUP}", f"int4-g{GROUP}"

    def __init__(self, torch, n, k, copies):
        aten = torch.ops.aten
        self.multiply = aten._weight_int4pack_mm
        self.codes = torch.randint(0, 16, (n, k), device="cuda", dtype=torch.int32)
        self.scales = torch.rand(k // GROUP, n, 2, device="cuda").sub(0.5).mul(0.1).to(torch.bfloat16)
        try:  # two codes a byte, the even column's in the upper half
            halves = (self.codes[:, ::2] << 4 | self.codes[:, 1::2]).to(torch.uint8)
            packed = aten._convert_weight_to_int4pack(halves, INNER_TILES)
        except RuntimeError:  # before torch 2.5: a code a number
            packed = aten._convert_weight_to_int4pack(self.codes, INNER_TILES)
        self.weights = [(packed.clone(), self.scales.clone()) for _ in range(copies)]

    @staticmethod
    def weight_bytes(n, k):
        return n * k // 2 + n * (k // GROUP) * 4

    def call(self, which, x, y):
        packed, scales = self.weights[which]
        return self.multiply(x, packed, GROUP, scales)

    def dequantized(self):
        scale, zero = (self.scales[:, :, i].double().t().repeat_interleave(GROUP, 1) for i in range(2))
        return (self.codes.double() - 8.0) * scale + zero

    def memory(self):
        return [part for packed, scales in self.weights for part in (packed, scales)]


def reader(torch):
    """A function that reads a tensor and nothing else, or None with the reason."""
    try:
        import triton
        import triton.language as tl
    except ImportError as error:
        return None, f"no Triton ({error})"

    @triton.jit
    def read(words, sums, count, BLOCK: tl.constexpr):
        places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        values = tl.load(words + places, mask=places < count, other=0)
        tl.store(sums + tl.program_id(0), tl.sum(values))

    block = 4096
    sums = torch.empty(1 << 22, device="cuda", dtype=torch.int32)

    def launch(tensor):
        words = tensor.view(-1).view(torch.int32)
        read[(triton.cdiv(words.numel(), block),)](words, sums, words.numel(), BLOCK=block, num_warps=8)

    try:
        probe = torch.arange(1 << 16, device="cuda", dtype=torch.int32)
        launch(probe)
        if sums[: (1 << 16) // block].sum() != probe.sum():
            return None, "the read kernel's sums are wrong"
    except Exception as error:  # whatever a compiler may say
        return None, f"Triton cannot compile the read kernel ({error})"
    return launch, None


class Replay:
    """A graph of calls, and the time of one."""

    def __init__(self, torch, calls, call):
        self.torch, self.calls = torch, calls
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is made on the first call must not be captured
            call(0)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(calls):
                call(i)

    def seconds(self):
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.graph.replay()
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / self.calls


def error_of(torch, kernel, x, y):
    expected = x.double() @ kernel.dequantized().t()
    return float(torch.linalg.norm(y.double() - expected) / torch.linalg.norm(expected))


def measure(torch, kind, shape, rounds, read, l2_bytes):
    """The medians of a kernel and of reading its weights, in seconds; the latter may be None."""
    m, n, k = shape
    copies = copies_of(kind.weight_bytes(n, k), l2_bytes)
    kernel = kind(torch, n, k, copies)
    x = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    y = torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16)
    error = error_of(torch, kernel, x, kernel.call(0, x, y))
    if not error <= TOLERANCE:
        raise ArithmeticError(f"products are off by {error:.3g} of their norm; at most {TOLERANCE} was expected")
    replays = [Replay(torch, calls_with(copies), lambda i: kernel.call(i % copies, x, y))]
    if read:
        memory = kernel.memory()
        parts = len(memory) // copies
        call = lambda i: [read(part) for part in memory[i % copies * parts :][:parts]]
        replays.append(Replay(torch, calls_with(copies), call))
    times = [[] for _ in replays]
    for turn in range(rounds):
        for which in range(len(replays)):
            which = (which + turn) % len(replays)
            times[which].append(replays[which].seconds())
    medians = [statistics.median(one) for one in times]
    return medians[0], medians[1] if read else None


def say(text):
    print(f"peers.py: {text}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--shapes", type=parse_shapes, default=parse_shapes(SHAPES))
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        say(f"nothing measured: no torch ({error})")
        return 0
    if not torch.cuda.is_available():
        say("nothing measured: torch sees no GPU")
        return 0
    torch.manual_seed(1)
    properties = torch.cuda.get_device_properties(0)
    machine = {
        "impl": f"torch {torch.__version__}",
        "device": properties.name,
        "driver": os.environ.get("DRIVER", "unknown"),
        "commit": os.environ.get("COMMIT", "unknown"),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
    read, reason = reader(torch)
    if read is None:
        say(f"no ceilings: {reason}")
    l2_bytes = getattr(properties, "L2_cache_size", 64 << 20)
    wrong = False
    for shape in arguments.shapes:
        for kind in (Bf16, Int4):
            name = f"{kind.name}, {'x'.join(map(str, shape))}"
            try:
                seconds, ceiling = measure(torch, kind, shape, arguments.rounds, read, l2_bytes)
            except ArithmeticError as error:
                say(f"WRONG: {name}: {error}")
                wrong = True
            except Exception as error:  # a version of torch without it, or too little memory
                say(f"{name} was not measured: {type(error).__name__}: {error}")
            else:
                weight_bytes = kind.weight_bytes(*shape[1:])
                line = record(kind, shape, seconds, ceiling, weight_bytes, machine)
                with open(arguments.output, "a", encoding="utf-8") as output:
                    output.write(json.dumps(line) + "\n")
            torch.cuda.empty_cache()
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
