"""Commands that measure: `python -m benchmarks.NAME --json FILE`, with `--quick` for a run of at most two minutes."""
