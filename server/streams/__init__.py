"""Messages of a broker, scored in small batches: read, run, written, then acknowledged."""
