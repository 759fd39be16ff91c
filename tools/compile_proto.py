"""Compile the gRPC service's .proto into the descriptor that the server loads.

Usage: python tools/compile_proto.py

What the server needs at run time is the description of its messages, not generated code, which would demand
the protobuf version that generated it. A test compares the committed descriptor with the .proto.
"""

import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).parents[1] / "gradus" / "server" / "grpc" / "proto" / "inference.proto"


def compile_proto(proto: Path, destination: Path) -> None:
    """Write `proto` as a serialized FileDescriptorSet."""
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={proto.parent}"),
            *(f"--descriptor_set_out={destination}", proto.name),
        ],
        check=True,
    )


if __name__ == "__main__":
    compile_proto(PROTO, PROTO.with_suffix(".binpb"))
