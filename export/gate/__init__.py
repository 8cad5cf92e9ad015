"""The parity gate: the graph against the pipeline, row by row."""
