"""`gradus bench NAME ...`: a measurement; a table for people, then one line of JSON."""

import argparse
from importlib import import_module
from pathlib import Path

from gradus.errors import ConfigError

_EXTRA = ("httpx", "markdown_it", "matplotlib", "radon", "scipy")  # what the extra "bench" installs

# name -> what it measures; its module `bench_NAME` gives `add_arguments(parser)` and `run(args) -> int`
BENCHES = {
    "decode": "one stream: tokens per second, beside the prediction that doctor makes",
    "throughput": "a workload in process: tokens per second, latencies, prefill and decode steps",
    "latency": "how long one batch takes: latency, TTFT and TPOT",
    "serve": "any OpenAI-compatible server under a workload, with the flags of vllm bench serve",
    "grpc": "streaming over gRPC: messages per token, added delay, order, many connections",
    "ladder": "what each layer costs, from the kernels to HTTP and gRPC",
    "milestones": "from static batches to 4-bit weights, one step at a time",
    "pair": "one switch of the engine on against off, in turns",
    "memory": "weights, KV cache, activations and peak, by the engine's books and by the system",
    "scaling": "speed over threads and over worker processes, with the work fixed or growing along",
    "startup": "process start to ready to first token, first starts and later ones",
    "roofline": "where a step's time goes, and how close each operation is to this machine's ceilings",
    "peers": "Gradus against other engines, measured in turns",
    "accuracy": "perplexity and right answers of the demo model by weights, KV cache and activations",
    "soak": "load of all kinds for a given time: memory's slope, latency's drift, failures",
    "compare": "two documents of one bench, before and after; exit code 1 if a figure got worse",
    "report": "one page, HTML or Markdown, from a folder of evidence",
    "code": "lines, functions, complexity and imports of the sources",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    benches = parser.add_subparsers(title="benches", metavar="NAME", required=True)
    for name, purpose in BENCHES.items():
        description = purpose[0].upper() + purpose[1:] + "."
        bench = benches.add_parser(name, help=purpose, description=description, allow_abbrev=False)
        bench.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show a traceback when something fails",
        )
        bench.add_argument("--output", type=Path, metavar="FILE", help="write the evidence here too")
        module = import_module(f"gradus.cli.bench_{name}")
        module.add_arguments(bench)
        bench.set_defaults(bench=module.run)


def run(args: argparse.Namespace) -> int:
    try:
        return args.bench(args)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ConfigError(f"this bench needs {error.name}: pip install 'gradus[bench]'") from error
