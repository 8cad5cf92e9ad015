"""Tables as Arrow streams, which data frames are written to and read from without any text between."""
