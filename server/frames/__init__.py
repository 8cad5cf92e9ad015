"""Tables in memory <-> columns of one model: rows, records, NumPy, pandas, polars, Arrow.

No library of frames is imported before the caller has made an object of it.
"""
