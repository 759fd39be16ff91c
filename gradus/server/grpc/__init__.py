"""The gRPC service: a second front end beside HTTP, in the same process and event loop."""
