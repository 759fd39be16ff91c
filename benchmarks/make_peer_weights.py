"""Writes one model in every format that `gradus bench peers` compares, into one directory.

    DIR/hf               bf16 safetensors and a tokenizer with an entry for every embedding
    DIR/q4_0.gguf ...    made by llama.cpp's own quantizer from the same weights
    DIR/openvino-int8    made by optimum from the same weights

Each part is made by the interpreter of its own environment; a part without one is left out, and what is there
is kept.
"""

import argparse
import subprocess
import sys
from pathlib import Path

GGUF_TYPES = {"q4_0": 2, "q8_0": 7, "q4_k_m": 15}  # llama.cpp's numbers of file types
QUANTIZE = """
import ctypes, sys, llama_cpp
llama_cpp.llama_backend_init()
source, target, file_type = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.nthread = int(file_type), 2
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
"""


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="dummy:NAME")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--llama-cpp", metavar="PYTHON", help="an interpreter with llama-cpp-python")
    parser.add_argument("--optimum", metavar="PYTHON", help="an interpreter with optimum-intel[openvino]")
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    hf, bf16 = args.directory / "hf", args.directory / "bf16.gguf"
    if not hf.exists():
        script = Path(__file__).with_name("write_dummy_checkpoint.py")
        run(sys.executable, script, args.model, hf, "--full-vocabulary")
    if args.llama_cpp and not bf16.exists():
        run(sys.executable, "-m", "gradus", "convert", hf, bf16, "--type", "bf16")
    for name, file_type in GGUF_TYPES.items():
        target = args.directory / f"{name}.gguf"
        if args.llama_cpp and not target.exists():
            run(args.llama_cpp, "-c", QUANTIZE, bf16, target, str(file_type))
    openvino = args.directory / "openvino-int8"
    if args.optimum and not openvino.exists():
        cli = Path(args.optimum).with_name("optimum-cli")
        task = ("--task", "text-generation-with-past", "--weight-format", "int8")
        run(cli, "export", "openvino", "-m", hf, *task, openvino)


if __name__ == "__main__":
    main()
