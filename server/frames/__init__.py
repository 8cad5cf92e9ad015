"""Tables in memory <-> columns of one model: rows, records, NumPy, pandas, polars, Arrow."""
