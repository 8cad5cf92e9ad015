"""Wire protocols, one file each: bytes of a request -> features, outputs -> bytes of an answer."""
