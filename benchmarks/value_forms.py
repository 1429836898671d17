# SPDX-License-Identifier: Apache-2.0
"""What each form in which values travel takes in bytes, loses in precision and costs in time, beside NVFlare's forms.

Run it: .venv/bin/python benchmarks/value_forms.py [--values 10000000] [--repeat 5]

One vector of Gaussian values, everything in one run; times are the processor's, not the clock's, so that other work on
the machine shows less. Encoding is all that a sender does: looking at every value, rounding, packing. Decoding is
everything that a receiver does, with every check. NVFlare's forms are those of its quantisation filters, which need
bitsandbytes. NVFlare does not install it:

    pip install --no-deps --target FOLDER bitsandbytes      and run it with PYTHONPATH=FOLDER

The filters put values on a GPU before they make 8 or 4 bits of them. Here the functions of bitsandbytes that they call
are called on the CPU, so read their bytes and their precision, not their time. Where it is missing, a line says so.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import zstandard

from cloister.jobs.compression import CodecName
from cloister.vectors import ArraySource, Vector
from cloister.wire import CODECS, EncodedVector, Encoder, Schema, rounding_seed


@dataclass(frozen=True)
class Way:
    """One way of sending a vector: bytes and back; the second of what the first gave, and how many bytes it has."""

    name: str
    encode: Callable[[Vector], Any]
    decode: Callable[[Any], Vector]
    size: Callable[[Any], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    vector = (np.random.Generator(np.random.PCG64(1)).normal(size=options.values) * 1e-3).astype(np.float32)
    ways = [*plain(), *nvflare(), *ours(vector.size)]
    times: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    found: dict[str, tuple[int, float]] = {}
    for turn in range(
        options.repeat
    ):  # one after the other in each turn, so that the machine's mood falls on all alike
        for way in ways:
            begun = time.process_time()
            sent = way.encode(vector)
            half = time.process_time()
            read = way.decode(sent)
            times[way.name].append((half - begun, time.process_time() - half))
            if not turn:
                found[way.name] = way.size(sent), ratio(vector, read)
    report(vector.size, times, found)
    feedback()


def report(size: int, times: dict[str, list[tuple[float, float]]], found: dict[str, tuple[int, float]]) -> None:
    """One table; times are the least of all turns, since all that comes on top is the machine's."""
    print(f"{size} Gaussian values, milliseconds of one processor, least of {len(next(iter(times.values())))}")
    print("| | bytes per value | signal to noise, dB | encode | decode |")
    print("|---|---|---|---|---|")
    for name, each in times.items():
        taken, decibels = found[name]
        shown = "exact" if math.isinf(decibels) else f"{decibels:.1f}"
        encode, decode = (min(one[place] for one in each) * 1e3 for place in (0, 1))
        print(f"| {name} | {taken / size:.3f} | {shown} | {encode:.1f} | {decode:.1f} |")


def feedback(size: int = 1 << 20, rounds: int = 10) -> None:
    """How near the sum of what was told is to the sum of what was meant, with and without error feedback."""
    print(f"\nsum of {rounds} rounds of {size} values, signal to noise, dB: without and with error feedback")
    schema, random = Schema((("weight", (size,)),)), np.random.Generator(np.random.PCG64(2))
    drift = random.normal(size=size)
    updates = [((drift + random.normal(size=size)) * 1e-3).astype(np.float32) for _ in range(rounds)]
    meant = np.stack(updates).sum(axis=0, dtype=np.float64)
    names: tuple[CodecName, ...] = ("int8", "int4")
    for name in names:
        shown = []
        for error_feedback in (False, True):
            encoder, told = Encoder(CODECS[name], error_feedback=error_feedback), np.zeros(size)
            for number, update in enumerate(updates):
                told += encoder.encode(update, schema, rounding_seed("job", "site", number, "up")).values
            shown.append(f"{ratio(meant, told):.1f}")
        print(f"{name}: {shown[0]} and {shown[1]}")


def ratio(meant: np.ndarray[Any, Any], read: np.ndarray[Any, Any]) -> float:
    """Signal to noise in decibels: 10 log10 of the mean squares' ratio."""
    noise = float(np.mean(np.square(read.astype(np.float64) - meant)))
    return math.inf if noise == 0 else 10 * math.log10(float(np.mean(np.square(meant, dtype=np.float64))) / noise)


def plain() -> list[Way]:
    """What does nothing but copy, and zstd on values as they are."""
    return [
        Way("copy in memory", lambda vector: vector.copy(), lambda sent: sent.copy(), lambda sent: sent.nbytes),
        Way(
            "float32, zstd level 3",
            lambda vector: zstandard.ZstdCompressor(level=3).compress(vector.data),
            lambda sent: np.frombuffer(zstandard.ZstdDecompressor().decompress(sent), np.float32),
            len,
        ),
    ]


def ours(size: int) -> list[Way]:
    """Every codec of `cloister.wire`, as sender and receiver use it."""
    schema = Schema((("weight", (size,)),))

    def way(name: CodecName) -> Way:
        codec = CODECS[name]

        def encode(vector: Vector) -> bytes:
            encoder = Encoder(codec, error_feedback=False)
            return b"".join(piece.content for piece in encoder.pieces(ArraySource(vector), schema, 1))

        def decode(sent: bytes) -> Vector:
            read = EncodedVector.open(sent, codec, schema)
            return np.concatenate([read.block(number) for number in range(schema.blocks)])

        return Way(f"Cloister {name}", encode, decode, len)

    return [way(name) for name in CODECS]


def nvflare() -> list[Way]:
    """NVFlare's filters where they run, and otherwise a word about what is missing."""
    if find_spec("bitsandbytes") is None:
        print("NVFlare's quantisation filters do not run: they import bitsandbytes, which is not installed\n")
        return []
    import torch  # noqa: PLC0415  only where NVFlare's filters can be tried
    from bitsandbytes import functional  # noqa: PLC0415
    from nvflare.apis.fl_context import FLContext  # noqa: PLC0415
    from nvflare.app_opt.pt.quantization.dequantizer import ModelDequantizer  # noqa: PLC0415
    from nvflare.app_opt.pt.quantization.quantizer import ModelQuantizer  # noqa: PLC0415

    torch.set_num_threads(1)

    def filtered(kind: str) -> Way:
        def encode(vector: Vector) -> Any:
            return ModelQuantizer(kind).quantization({"weight": vector.copy()}, FLContext())

        def decode(sent: Any) -> Vector:
            values, state, source = sent
            read = ModelDequantizer().dequantization(dict(values), state, kind, source, FLContext())
            return np.asarray((read[0] if isinstance(read, tuple) else read)["weight"], np.float32).ravel()

        def size(sent: Any) -> int:
            parts = [sent[0]["weight"], *sent[1]["weight"].values()]
            return sum(part.nbytes for part in parts if hasattr(part, "nbytes"))

        return Way(f"NVFlare {kind}", encode, decode, size)

    def called(name: str, quantise: Callable[..., Any], restore: Callable[..., Any]) -> Way:
        return Way(
            f"NVFlare {name}, on the CPU",
            lambda vector: quantise(torch.from_numpy(vector)),
            lambda sent: restore(*sent).numpy(),
            lambda sent: sent[0].nbytes + sent[1].absmax.nbytes + sent[1].code.nbytes,
        )

    return [
        filtered("float16"),
        filtered("adaquant"),
        called("blockwise8", functional.quantize_blockwise, functional.dequantize_blockwise),
        called("float4", lambda values: functional.quantize_4bit(values, quant_type="fp4"), functional.dequantize_4bit),
        called(
            "normfloat4", lambda values: functional.quantize_4bit(values, quant_type="nf4"), functional.dequantize_4bit
        ),
    ]


if __name__ == "__main__":
    main()
