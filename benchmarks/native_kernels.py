"""Speed of the native backend's matrix products: GMAC/s over rows, and GB/s of weights at few rows; of
attention in f32, in bf16 and with scores from 8 bits, in turns; and what it costs to hand a loop to the
threads.

One `linear` instruction at a time through the executor, so threads and their synchronisation count. Each
figure is the best of several repetitions, since the machine may be shared. With few rows the weights come
from memory: there are more of them than the caches hold. GRADUS_CPU in the environment names the
kernels' variant.
"""

import argparse
import os
import time

import numpy as np

from gradus.backends.native import _native
from gradus.backends.native.operations import row_stride

SHAPES = {"1024 -> 6144": (1024, 6144), "3072 -> 1024": (3072, 1024), "1024 -> 151936": (1024, 151936)}
MAX_ROWS = 512
ATTENTION = [(1, 512, 512), (1, 512, 2048), (1, 32, 32), (1, 1, 128), (8, 1, 128), (1, 1, 4096), (8, 1, 4096)]


def make_executor(num_threads: int):
    return _native.Executor(
        cpu_variant=os.environ.get("GRADUS_CPU", ""),
        num_threads=num_threads, kv_format="f16", num_layers=1, num_blocks=32, block_size=16,
        num_heads=1, num_kv_heads=1, head_dim=16, vocab_size=16, max_rows=MAX_ROWS, max_model_len=512,
    )  # fmt: skip


def step_of(num_rows: int):
    """A step whose only purpose is to have `num_rows` rows."""
    return make_step(1, num_rows, num_rows, np.arange(32, dtype=np.int32)[None])


def make_step(num_streams: int, num_rows: int, context: int, tables):
    """The last `num_rows` tokens of each of so many sequences, none of which is sampled from."""
    positions = np.tile(np.arange(context - num_rows, context), num_streams)
    streams = np.repeat(np.arange(num_streams), num_rows)
    none = np.zeros(0, np.int32)
    floats, seeds = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return _native.Step(
        token_ids=np.zeros(len(positions), np.int32),
        positions=positions.astype(np.int32),
        slot_mapping=tables[streams, positions // 16].astype(np.int64) * 16 + positions % 16,
        query_start=(np.arange(num_streams + 1) * num_rows).astype(np.int32),
        context_lens=np.full(num_streams, context, np.int32),
        block_tables=tables,
        block_copies=np.zeros((0, 2), np.int32),
        output_rows=none,
        temperature=floats,
        top_p=floats,
        top_k=none,
        min_p=floats,
        seed=seeds,
        choice_index=none,
        position=none,
        num_logprobs=none,
        return_logits=False,
        return_hidden=False,
    )


def seconds_per_product(executor, weights, k, n, num_rows, repetitions, clock) -> float:
    """Best time of one product, going through all `weights` so that each comes from memory again."""
    x = _native.Buffer(row_stride(k) * MAX_ROWS)
    x.numpy()[:] = np.random.default_rng(0).normal(size=x.size)
    y = _native.Buffer(row_stride(n) * MAX_ROWS)
    x_view = _native.View(x, 0, row_stride(k), k, _native.RowSet.tokens)
    y_view = _native.View(y, 0, row_stride(n), n, _native.RowSet.tokens)
    step = step_of(num_rows)
    is_quantized = weights[0].is_quantized
    if is_quantized:
        x_view = quantized_rows(executor, step, x_view, k, weights[0].takes_quads)
    program = _native.Program()
    for weight in weights:
        program.append(_native.linear(x_view, weight, 0, 1, y_view, is_quantized))
    times = []
    for _ in range(repetitions):
        start = clock()
        executor.run(program, step)
        times.append((clock() - start) / len(weights))
    return min(times)


def quantized_rows(executor, step, x_view, k, in_quads):
    """The rows in 8 bits, as products with quantized weights read them."""
    width = _native.quantized_width(k, in_quads)
    buffer = _native.Buffer(row_stride(width) * MAX_ROWS)
    view = _native.View(buffer, 0, row_stride(width), width, _native.RowSet.tokens)
    program = _native.Program()
    program.append(_native.quantize(x_view, in_quads, view))
    executor.run(program, step)
    return view


def print_attention(num_threads: int, repetitions: int, clock) -> None:
    """16 heads of 128 over 8, f16 cache; layers enough for decoding to read from memory. Medians."""
    has_bf16 = _native.has_bf16_attention(os.environ.get("GRADUS_CPU", ""))
    kernels = ["blocked", "bf16", "int8"] if has_bf16 else ["blocked"]
    for num_streams, num_rows, context in ATTENTION:
        num_blocks = num_streams * -(-context // 16)
        num_layers = 2 if num_rows > 1 else max(2, 12_000 // num_blocks)
        num_queries = num_streams * num_rows
        executor = _native.Executor(
            cpu_variant=os.environ.get("GRADUS_CPU", ""),
            num_threads=num_threads, kv_format="f16", num_layers=num_layers, num_blocks=num_blocks,
            block_size=16, num_heads=16, num_kv_heads=8, head_dim=128, vocab_size=16,
            max_rows=num_streams * context, max_model_len=context,
        )  # fmt: skip
        random = np.random.default_rng(0)
        tables = random.permutation(num_blocks).astype(np.int32).reshape(num_streams, -1)
        whole, last = (make_step(num_streams, n, context, tables) for n in (context, num_rows))
        k, v = (filled(random, num_streams * context, 1024) for _ in range(2))
        q, out = (filled(random, num_queries, 2048) for _ in range(2))
        fill = _native.Program()
        for layer in range(num_layers):
            fill.append(executor.kv_write(k, v, layer))
        executor.run(fill, whole)
        programs = {kernel: _native.Program() for kernel in kernels}
        for kernel, program in programs.items():
            for layer in range(num_layers):
                program.append(executor.attention(q, layer, 128**-0.5, kernel, out))
        times = {kernel: [] for kernel in kernels}
        for _ in range(repetitions):
            for kernel, program in programs.items():
                start = clock()
                executor.run(program, last)
                times[kernel].append((clock() - start) / num_layers)
        num_macs = num_streams * sum(range(context - num_rows + 1, context + 1)) * 2 * 16 * 128
        cells = [
            f"{kernel}: {np.median(t) * 1e6:.0f} us, {num_macs / np.median(t) / 1e9:.1f} GMAC/s"
            for kernel, t in times.items()
        ]
        print(
            f"{num_threads} threads, attention, {num_streams} x {num_rows} of {context}:  "
            + ",  ".join(cells)
        )


def filled(random, num_rows: int, width: int):
    """A view of rows of normally distributed numbers."""
    buffer = _native.Buffer(row_stride(width) * num_rows)
    buffer.numpy()[:] = random.normal(size=buffer.size)
    return _native.View(buffer, 0, row_stride(width), width, _native.RowSet.tokens)


def print_loops(num_threads: int) -> None:
    """What a loop takes beyond its pieces, one for every thread; when the machine is busy nobody may help."""
    for microseconds in (2, 5, 20):
        seconds = _native.time_loops(num_threads, 20_000, microseconds * 1e-6)
        low, median, high = np.percentile(seconds, [10, 50, 90]) * 1e6 - microseconds
        pieces = f"{num_threads} threads, pieces of {microseconds} us"
        print(f"{pieces}: {median:.2f} us more ({low:.2f} to {high:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--formats", nargs="*", default=["f32", "bf16", "f16", "int8", "int4"])
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 2, 4, 6, 8, 16, 64, 256, 512])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--cpu-time", action="store_true", help="of the calling thread; for a busy machine, 1 thread"
    )
    arguments = parser.parse_args()
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    for num_threads in arguments.threads:
        print_loops(num_threads)
        print_attention(num_threads, arguments.repetitions, clock)
        executor = make_executor(num_threads)
        for label, (k, n) in SHAPES.items():
            for weight_format in arguments.formats:
                matrix = np.random.default_rng(1).normal(size=(n, k)).astype(np.float32)
                num_bytes = _native.Weight(weight_format, [n], k).bytes
                weights = [
                    _native.Weight(weight_format, [n], k) for _ in range(max(1, 200_000_000 // num_bytes))
                ]
                for weight in weights:
                    weight.pack(0, matrix, "f32", executor)
                cells = []
                for num_rows in arguments.rows:
                    few = weights if num_rows <= 8 else weights[:2]
                    best = seconds_per_product(executor, few, k, n, num_rows, arguments.repetitions, clock)
                    gmacs = num_rows * k * n / best / 1e9
                    cells.append(
                        f"{num_rows}: {gmacs:.0f} GMAC/s"
                        + f" {num_bytes / best / 1e9:.1f} GB/s" * (num_rows < 6)
                    )
                print(f"{num_threads} threads, {label}, {weight_format}:  " + ",  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
