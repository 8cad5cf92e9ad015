"""The values that pass between a batch job, its engine and its workers: each can be written as JSON."""

import msgspec

from unpickled.server.config import Log, Runtime
from unpickled.server.model.policy import Policy


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file to score, and the files that are made of it.

    Attributes:
        source: Path or address of the file, such as big/part-0.parquet or s3://bucket/big/part-0.parquet.
        target: The file of its answers; it appears whole, or not at all.
        refused: The file of its refused rows; there is none unless a row is refused.
        size: The size of the source, in bytes; it tells whether the source has changed since.
        changed: The time or the tag of the source's last change, as its place tells it.
    """

    source: str
    target: str
    refused: str
    size: int
    changed: str = ""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """The payload log of a job.

    Attributes:
        log: Its folder, absolute, and the columns that are kept and hashed.
        token: Tells the job from all others.
        began: When it began, in seconds since 1970: the time of the first row of each part.
    """

    log: Log
    token: str
    began: float


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker needs to know about the job, but the parts.

    Attributes:
        model: The folder of the model or of the version, or its file, absolute: each machine finds it there.
        name: The model's name.
        version: The version that answers.
        sha256: The digest of its file: a worker that finds another content refuses.
        policy: The policy for values outside the training range.
        append: Whether answers stand beside all columns of their rows.
        only: The columns that stand beside the answers; without both, those that are no features.
        prefix: The beginning of the names of the answers' columns.
        runtime: How ONNX Runtime is to run the model.
        logged: The payload log that gets the answered rows; None for none.
    """

    model: str
    name: str
    version: int
    sha256: str
    policy: Policy = Policy()
    append: bool = False
    only: tuple[str, ...] = ()
    prefix: str = ""
    runtime: Runtime = Runtime()
    logged: Logged | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is done.

    Attributes:
        part: The part.
        rows: How many rows are answered.
        refused: How many rows are refused.
        seconds: How long it took.
        reasons: A few reasons of refused rows.
        outside: How many values of answered rows lie outside the training range, where that is flagged.
        features: The features of these values.
    """

    part: Part
    rows: int
    refused: int
    seconds: float
    reasons: tuple[str, ...] = ()
    outside: int = 0
    features: tuple[str, ...] = ()
