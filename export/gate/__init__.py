"""The parity gate: it compares the answers of graph and pipeline, row by row."""
