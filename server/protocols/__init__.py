"""Wire protocols, one file each: bytes of a request -> rows, and outputs -> bytes of an answer."""
