"""The contract: the compiled description is the .proto's, and a client of the published table alone works."""

import json
import subprocess
import sys

from google.protobuf import descriptor_pb2

from gradus.server.grpc.proto import PROTO_PATH, SERVICE
from tests.server.grpc.conftest import generate_client
from tools.compile_proto import compile_proto

# Written from the table of the service's fields, not from the .proto that is shipped.
TABLE = {
    "StreamMetadata": "string trace_id=1; string tenant=2; string player_id=3; string locale=4; "
    "map<string,string> extra=5;",
    "GenerationParameters": "uint32 max_new_tokens=1; double temperature=2; double top_p=3; "
    "double repetition_penalty=4;",
    "StreamPredictRequest": "string model_id=1; string prompt=2; string adapter=3; int32 priority=4; "
    "GenerationParameters generation=5; StreamMetadata metadata=6; string worker_hint=7;",
    "StreamPredictResponse": "string trace_id=1; string chunk=2; bool end_of_stream=3; uint32 index=4; "
    "float ttft_ms=5; float tokens_per_sec=6;",
    "ControlMessage": "string trace_id=1; string command=2; map<string,string> payload=3;",
    "WorkerHealthRequest": "string trace_id=1;",
    "WorkerHealthResponse": "bool healthy=1; map<string,string> metrics=2;",
}
CONTRACT = """
syntax = "proto3";
package cy.llm;
service AiInference {
  rpc StreamPredict(stream StreamPredictRequest) returns (stream StreamPredictResponse);
  rpc Control(ControlMessage) returns (ControlMessage);
  rpc Health(WorkerHealthRequest) returns (WorkerHealthResponse);
}
""" + "\n".join(f"message {name} {{ {fields} }}" for name, fields in TABLE.items())

CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import grpc, contract_pb2 as pb, contract_pb2_grpc as rpc
stub = rpc.AiInferenceStub(grpc.insecure_channel(sys.argv[2]))
request = pb.StreamPredictRequest(
    model_id="toy", prompt="Hi", priority=1, worker_hint="w",
    generation=pb.GenerationParameters(max_new_tokens=500, temperature=0, top_p=1, repetition_penalty=1),
    metadata=pb.StreamMetadata(
        trace_id="t", tenant="a", player_id="p", locale="de_DE", extra={"quest": "7"}),
)
answers = list(stub.StreamPredict(iter([request])))
pong = stub.Control(pb.ControlMessage(trace_id="c", command="ping"))
health = stub.Health(pb.WorkerHealthRequest(trace_id="h"))
print(json.dumps({
    "text": "".join(a.chunk for a in answers), "trace_ids": sorted({a.trace_id for a in answers}),
    "indexes": [a.index for a in answers], "ends": [a.end_of_stream for a in answers],
    "ttft_ms": answers[-1].ttft_ms, "tokens_per_sec": answers[-1].tokens_per_sec,
    "pong": [pong.trace_id, pong.command, dict(pong.payload)["status"]],
    "healthy": health.healthy, "num_metrics": len(health.metrics),
}))
"""


def compiled(proto, folder):
    compile_proto(proto, folder / "compiled.binpb")
    (file,) = descriptor_pb2.FileDescriptorSet.FromString((folder / "compiled.binpb").read_bytes()).file
    return file


def test_the_compiled_description_is_the_proto_s(tmp_path):
    shipped = descriptor_pb2.FileDescriptorSet.FromString(PROTO_PATH.with_suffix(".binpb").read_bytes())
    assert list(shipped.file) == [compiled(PROTO_PATH, tmp_path)], "run: python tools/compile_proto.py"


def test_the_fields_of_the_table_are_as_it_says_and_later_ones_know_presence(tmp_path):
    (tmp_path / "contract.proto").write_text(CONTRACT)
    contract, shipped = compiled(tmp_path / "contract.proto", tmp_path), compiled(PROTO_PATH, tmp_path)
    assert f"{contract.package}.{contract.service[0].name}" == SERVICE
    assert contract.service == shipped.service
    messages = {message.name: message for message in shipped.message_type}
    for message in contract.message_type:
        there = {field.name: field for field in messages[message.name].field}
        for field in message.field:
            assert there.pop(field.name) == field
        highest = max(field.number for field in message.field)
        for name, field in there.items():
            assert field.number > highest, name
            is_singular_value = field.label != field.LABEL_REPEATED and field.type != field.TYPE_MESSAGE
            assert field.proto3_optional == is_singular_value, name


def test_a_client_of_the_table_alone_is_served(tmp_path, server, answer):
    (tmp_path / "contract.proto").write_text(CONTRACT)
    generate_client(tmp_path / "contract.proto", tmp_path)
    command = [sys.executable, "-c", CLIENT, str(tmp_path), server.server.grpc.addresses[0]]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = json.loads(printed)
    assert found["text"] == answer
    assert found["trace_ids"] == ["t"]
    assert found["indexes"] == list(range(len(found["indexes"])))
    assert found["ends"] == [False] * (len(found["ends"]) - 1) + [True]
    assert found["ttft_ms"] > 0
    assert found["tokens_per_sec"] > 0
    assert found["pong"] == ["c", "ping", "ok"]
    assert found["healthy"]
    assert found["num_metrics"] > 5
