"""The beginning of a job that is logged: its token and its time, which a job that goes on finds again."""

import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from unpickled.server.batch.places.paths import joined
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.task import Logged
from unpickled.server.config import Log
from unpickled.server.errors import ServingError
from unpickled.server.observe.counters import fresh_token
from unpickled.server.payloads import schema

# Beside what the job writes: its token and the time of its beginning.
_FILE = "_log.json"


class _Begun(msgspec.Struct, frozen=True):
    token: str
    began: float


def begun(folder: str | None, log: Log) -> Logged:
    """The logging of a job that writes to a folder, begun now or before; None stands for a pipe.

    Args:
        folder: The path or the address of the folder.
        log: The folder of the log, and the columns that are kept and hashed.

    Raises:
        ConfigError: The key of hashes is missing or cannot be read.
        ServingError: The file of an earlier run is no such file.
    """
    schema.key_of(log)
    # The other settings change nothing, so that a job goes on whatever they are by then.
    log = Log(
        log_folder=_absolute(log.log_folder),
        log_columns=log.log_columns,
        log_hash=log.log_hash,
        log_key=log.log_key and _absolute(log.log_key),
    )
    logged = Logged(log=log, token=fresh_token(), began=time.time())
    if folder is None:
        return logged
    place, path = place_of(folder), joined(folder, _FILE)
    content = place.read(path)
    if content is None:
        document = msgspec.json.encode({"token": logged.token, "began": logged.began})
        with place.write(path) as file:
            file.write(document)
        return logged
    try:
        before = msgspec.json.decode(content, type=_Begun)
    except msgspec.MsgspecError as error:
        raise ServingError(f"{path} cannot be read: {error}: name another folder with --out") from None
    return replace(logged, token=before.token, began=before.began)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
