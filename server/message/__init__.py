"""One HTTP message: reading a body, negotiating a media type, writing an answer."""
