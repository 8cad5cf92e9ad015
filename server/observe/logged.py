"""Counts of the payload log, and the layout of their series in the shared memory.

    ("logged", model, version)            PUT, DROPPED, UNCHOSEN and LOST rows that clients got an answer to
    ("logged_shadow", model, version)     the same of rows that this version, a shadow, answered out of sight
    ("log_written", model, version, kind, ring)      rows that are on disk; kind is one of the two above
    ("log_parts",) ("log_bytes",)         finished files; bytes written to journals
    ("log_uploads",)                      uploads, failed attempts, parts that wait: of the present writer
    ("log_failures",)                     attempts to write, or to finish a file, that failed
    ("log_writer_exits",)                 writers that ended while the server did not
    ("log_failing",) ("log_waiting",) ("log_last_write",) ("log_writer_alive",)       gauges

Every row that a client got is one of the four, or was dropped by the intake, or waits in its queue. PUT rows
are written, or wait in a ring. All of that is exact, whatever is killed.
"""

LOGGED, LOGGED_SHADOW, WRITTEN = "logged", "logged_shadow", "log_written"
# Offsets in the first two of these series.
PUT, DROPPED, UNCHOSEN, LOST = range(4)
SIZE = 4

PARTS, BYTES, FAILURES, EXITS = "log_parts", "log_bytes", "log_failures", "log_writer_exits"
UPLOADS = "log_uploads"
# 1.0 while rows cannot be written or files not be finished; bytes in the rings; when rows were last written,
# in seconds since 1970; 1.0 while the writer runs.
FAILING, WAITING, LAST, ALIVE = "log_failing", "log_waiting", "log_last_write", "log_writer_alive"
