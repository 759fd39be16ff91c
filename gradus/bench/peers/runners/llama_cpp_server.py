"""llama.cpp's HTTP server from the `xllamacpp` package, until it is told to stop."""

import argparse
import signal

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--num-threads", type=int, required=True)
    parser.add_argument("--num-sequences", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens of one sequence")
    parser.add_argument("--flash-attention", action=argparse.BooleanOptionalAction, required=True)
    parser.add_argument("--n-ubatch", type=int, required=True, help="rows computed at once")
    parser.add_argument("--kv-unified", action=argparse.BooleanOptionalAction, required=True)
    args = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.hostnames = ["127.0.0.1"]
    params.port = args.port
    params.n_parallel = args.num_sequences
    params.n_ctx = args.num_sequences * args.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.num_threads
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(int(args.flash_attention))
    params.n_ubatch = args.n_ubatch
    params.kv_unified = args.kv_unified
    params.cache_prompt = False
    params.cache_ram_mib = 0  # else what a slot held is kept for later prompts
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main()
