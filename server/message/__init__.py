"""One HTTP message: the body that is read, the answer that is written."""
