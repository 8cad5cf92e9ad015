"""The forms of tables in files: Parquet, CSV, JSON Lines and Arrow streams."""
