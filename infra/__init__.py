"""Where it runs: the command line, settings, the embedded broker and ClickHouse, proofs and benchmarks."""
