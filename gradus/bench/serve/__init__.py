"""`gradus bench serve`: any OpenAI-compatible server under a workload, seen from outside."""
