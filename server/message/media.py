"""Media types of requests and answers."""

JSON = "application/json"
CSV = "text/csv"
BINARY = "application/octet-stream"
# Clients have several names for one JSON document per line.
NDJSON = "application/x-ndjson"
JSON_LINES = ("application/jsonlines", "application/jsonl", "application/x-jsonlines", NDJSON)
