"""Entries of the WSGI environment by which one layer of the server tells the next what it has learnt."""

# The name of the key that the request came with.
KEY = "unpickled.key"
# The numbers in which the layer that answers counts its requests: see server/observe/keyed.py.
COUNTS = "unpickled.key_counts"
# The id of the request, as its client chose it or the server made it.
REQUEST_ID = "unpickled.request_id"
# The id of the trace of a request that is recorded.
TRACE = "unpickled.trace"
# Milliseconds that the request has waited for its turn, where it had to.
QUEUE_MS = "unpickled.queue_ms"
