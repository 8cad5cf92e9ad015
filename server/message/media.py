"""Media types of requests and answers."""

JSON = "application/json"
CSV = "text/csv"
BINARY = "application/octet-stream"
# The types by which clients call one JSON document per line.
NDJSON = "application/x-ndjson"
JSON_LINES = ("application/jsonlines", "application/jsonl", "application/x-jsonlines", NDJSON)
