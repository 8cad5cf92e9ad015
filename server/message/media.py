"""Media types of requests and answers."""

JSON = "application/json"
CSV = "text/csv"
# https://www.iana.org/assignments/media-types/application/vnd.apache.arrow.stream
ARROW = "application/vnd.apache.arrow.stream"
# Tables in files, which are not read.
TABLE_FILES = ("application/vnd.apache.arrow.file", "application/vnd.apache.parquet")
BINARY = "application/octet-stream"
# Clients have several names for one JSON document per line.
NDJSON = "application/x-ndjson"
JSON_LINES = ("application/jsonlines", "application/jsonl", "application/x-jsonlines", NDJSON)
