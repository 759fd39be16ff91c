"""What an operator sees of a server: metrics, latencies explained, traces, logs. Knows no protocol."""
