"""The messages are the protocol's: names, numbers and types; and they live beside OpenFL's own in one process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from fedenvoy.wire import openfl16_pb2 as wire
from google.protobuf.descriptor import FieldDescriptor

TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_FLOAT: "float",
}

# What a node sends and gets, spelt out a second time: a slip in the source would be told as "unavailable" at best.
MESSAGES = {
    "CudaDeviceInfo": "1 index uint64, 2 memory_total uint64, 3 memory_utilized uint64, 4 device_utilization string, "
    "5 cuda_driver_version string, 6 cuda_version string, 7 name string",
    "NodeInfo": "1 name string, 2 cuda_devices CudaDeviceInfo*",
    "ShardInfo": "1 node_info NodeInfo, 2 shard_description string, 3 n_samples uint64, 4 sample_shape string*, "
    "5 target_shape string*",
    "UpdateShardInfoRequest": "1 shard_info ShardInfo",
    "UpdateShardInfoResponse": "1 accepted bool",
    "WaitExperimentRequest": "1 collaborator_name string",
    "WaitExperimentResponse": "1 experiment_name string",
    "GetExperimentDataRequest": "1 experiment_name string, 2 collaborator_name string",
    "ExperimentData": "1 size uint32, 2 npbytes bytes",
    "UpdateEnvoyStatusRequest": "1 name string, 2 is_experiment_running bool, 3 cuda_devices CudaDeviceInfo*",
    "UpdateEnvoyStatusResponse": "1 health_check_period Duration",
    "SetExperimentFailedRequest": "1 experiment_name string, 2 collaborator_name string, 3 error_code uint32, "
    "4 error_description string",
    "SetExperimentFailedResponse": "",
    "ExperimentInfo": "1 name string, 2 collaborator_names string*, 3 experiment_data ExperimentData, "
    "4 model_proto ModelProto",
    "EnvoyInfo": "1 shard_info ShardInfo, 2 is_online bool, 3 is_experiment_running bool, 4 last_updated Timestamp, "
    "5 valid_duration Duration, 6 experiment_name string",
    "GetTrainedModelRequest": "2 experiment_name string, 3 model_type ModelType",
    "ModelProto": "1 tensors NamedTensor*",
    "NamedTensor": "1 name string, 2 round_number int32, 3 lossless bool, 4 report bool, 5 tags string*, "
    "6 transformer_metadata MetadataProto*, 7 data_bytes bytes",
    "MetadataProto": "1 int_to_float IntToFloatEntry*, 2 int_list int32*, 3 bool_list bool*",
}


def words(field: FieldDescriptor) -> str:
    other = field.message_type or field.enum_type
    repeated = isinstance(field.default_value, list)  # the one way that all supported releases share
    return f"{field.number} {field.name} {other.name if other else TYPES[field.type]}{'*' if repeated else ''}"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_fields_of_a_message(name: str) -> None:
    fields = wire.DESCRIPTOR.message_types_by_name[name].fields
    assert ", ".join(words(field) for field in fields) == MESSAGES[name]


def test_every_message_of_the_front_end_is_there() -> None:
    names = set(wire.DESCRIPTOR.message_types_by_name)
    for method in ("GetExperimentStatus", "GetExperimentsList", "GetExperimentDescription", "GetDatasetInfo"):
        assert {f"{method}Request", f"{method}Response"} <= names
    assert {"GetMetricStreamResponse", "RemoveExperimentRequest", "GetEnvoysResponse", "TrainedModelResponse"} <= names


def test_no_service_and_no_foreign_package() -> None:
    assert wire.DESCRIPTOR.package == "fedenvoy.wire.openfl16"
    assert not wire.DESCRIPTOR.services_by_name


# Builds, into protobuf's one pool, files with the names, packages and messages that OpenFL's own generated code has.
STAND_IN = """
    from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, timestamp_pb2

    def openfl():
        pool = descriptor_pool.Default()
        base = descriptor_pb2.FileDescriptorProto(name="openfl/protocols/base.proto", syntax="proto3")
        for name in ("ModelProto", "NamedTensor", "MetadataProto", "ExperimentDescription"):
            base.message_type.add(name=name)
        director = descriptor_pb2.FileDescriptorProto(
            name="openfl/protocols/director.proto", package="openfl.director", syntax="proto3",
            dependency=["openfl/protocols/base.proto"])
        for name in ("ShardInfo", "ExperimentData", "WaitExperimentRequest"):
            director.message_type.add(name=name)
        for file in (base, director):
            pool.AddSerializedFile(file.SerializeToString())

    def ours():
        from fedenvoy.wire import openfl16_pb2
        assert openfl16_pb2.WaitExperimentRequest(collaborator_name="one").SerializeToString() == b"\\n\\x03one"
"""


@pytest.mark.parametrize("order", ["openfl(); ours()", "ours(); openfl()"])
def test_B98_beside_openfls_own_messages_in_one_process(order: str) -> None:
    code = f"{textwrap.dedent(STAND_IN)}\n{order}\n"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
