"""Kernels are compiled for several instruction sets into one library; none may leak into the others' code."""

import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[3] / "csrc"
HARMLESS = "DW.ref.__gxx_personality_v0"  # of exception handling, the same in every object


AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx512vnni"]
BF16 = CSRC / "kernels" / "attention_bf16.cpp"  # of the avx512 variant alone, with a flag of its own


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variants are x86's")
@pytest.mark.parametrize(("variant", "flags"), [("avx2", AVX2), ("avx512", AVX512)])
def test_kernel_objects_define_no_symbol_that_the_linker_may_share(variant, flags, tmp_path):
    """A weak symbol (an inline function) of a variant's object could be the copy that older CPUs get to run.

    Without optimization nothing is inlined away, so every such function shows.
    """

    def weak_symbols(source):
        compiled = tmp_path / f"{source.stem}.o"
        options = [f"-DGRADUS_VARIANT={variant}", f"-DGRADUS_VARIANT_{variant}=1", *flags, f"-I{CSRC}"]
        if source == BF16:
            options.append("-mavx512bf16")
        subprocess.run(["g++", "-std=c++17", "-O0", *options, "-c", source, "-o", compiled], check=True)
        listing = subprocess.run(["nm", "-C", compiled], check=True, capture_output=True, text=True).stdout
        kinds_and_names = [line[17:].split(" ", 1) for line in listing.splitlines()]
        return [name for kind, name in kinds_and_names if kind in "WVu" and name != HARMLESS]

    sources = [path for path in (CSRC / "kernels").glob("*.cpp") if variant == "avx512" or path != BF16]
    assert len(sources) >= 6
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(weak_symbols, sources)) == [[] for _ in sources]
