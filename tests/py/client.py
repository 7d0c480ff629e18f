#!/usr/bin/env python3
"""A gRPC client that knows nothing but the server's address: it reads the contract by reflection.

Arguments: HOST:PORT KEY RECIPIENT. Sends one mail, reads it back, and prints both as one line of
JSON. Needs grpcio, grpcio-reflection and protobuf.
"""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main():
    address, key, recipient = sys.argv[1:4]
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("postern.v1.MessageService")

        def call(name, fields):
            method = service.FindMethodByName(name)
            request = message_factory.GetMessageClass(method.input_type)()
            json_format.ParseDict(fields, request)
            stub = channel.unary_unary(
                f"/{service.full_name}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=message_factory.GetMessageClass(
                    method.output_type
                ).FromString,
            )
            metadata = [("authorization", f"Bearer {key}")]
            return json_format.MessageToDict(stub(request, timeout=20, metadata=metadata))

        message = {
            "from": {"email": "py@client.test", "displayName": "Python"},
            "to": [{"email": recipient}],
            "subject": "From Python",
            "text": "Found by reflection.",
        }
        sent = call("SendMessage", {"message": message})["message"]
        found = call("GetMessage", {"id": sent["id"]})["message"]
        print(json.dumps({"services": services, "sent": sent, "found": found}))


if __name__ == "__main__":
    main()
