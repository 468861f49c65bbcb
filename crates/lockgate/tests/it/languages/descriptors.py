"""Compares a FileDescriptorSet (ours) with the descriptors inside the installed SDK (theirs)."""

import importlib
import pathlib
import sys

import pulumi.runtime.proto as package
from google.protobuf import descriptor_pb2


def published():
    root = pathlib.Path(package.__file__).parent
    top = root.parents[2]
    for file in root.rglob("*_pb2.py"):
        name = ".".join(file.relative_to(top).with_suffix("").parts)
        descriptor = descriptor_pb2.FileDescriptorProto()
        importlib.import_module(name).DESCRIPTOR.CopyToProto(descriptor)
        yield descriptor


def field_shape(message, field):
    oneof = ""
    if field.HasField("oneof_index") and not field.proto3_optional:
        oneof = message.oneof_decl[field.oneof_index].name
    return (field.name, field.type, field.label, field.type_name, field.proto3_optional, oneof)


def flatten(files):
    shapes = {}

    def add_enum(prefix, enum):
        for value in enum.value:
            shapes["enum %s.%s %d" % (prefix, enum.name, value.number)] = (value.name,)

    def add_message(prefix, message):
        name = "%s.%s" % (prefix, message.name)
        for field in message.field:
            shapes["%s %d" % (name, field.number)] = field_shape(message, field)
        for nested in message.nested_type:
            add_message(name, nested)
        for enum in message.enum_type:
            add_enum(name, enum)

    for file in files:
        if file.package != "pulumirpc":
            continue
        for message in file.message_type:
            add_message(file.package, message)
        for enum in file.enum_type:
            add_enum(file.package, enum)
        for service in file.service:
            for m in service.method:
                key = "service %s.%s %s" % (file.package, service.name, m.name)
                shapes[key] = (
                    m.input_type, m.output_type, m.client_streaming, m.server_streaming
                )
    return shapes


ours = flatten(descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file)
theirs = flatten(published())
wrong = [
    "%s: ours %r, theirs %r" % (key, shape, theirs.get(key))
    for key, shape in sorted(ours.items())
    if theirs.get(key) != shape
]
print("compared %d entries, among them:" % len(ours), ", ".join(sorted(ours)[:400]))
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
