"""`gradus bench grpc`: what streaming over gRPC costs, and what it keeps."""
