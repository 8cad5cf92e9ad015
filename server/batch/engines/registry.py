"""The engines by name: the libraries of one are imported when it is chosen."""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

from unpickled.server.batch.engines.engine import Engine
from unpickled.server.errors import ServingError


class Kind(NamedTuple):
    """An engine for clusters.

    Attributes:
        module: The full name of its module.
        attribute: The name of its class there.
        variable: The environment variable with its address, where no option has it.
    """

    module: str
    attribute: str
    variable: str


KINDS = {
    "ray": Kind("unpickled.server.batch.engines.ray", "Ray", "RAY_ADDRESS"),
    "spark": Kind("unpickled.server.batch.engines.spark", "Spark", "SPARK_MASTER"),
    "dask": Kind("unpickled.server.batch.engines.dask", "Dask", "DASK_SCHEDULER_ADDRESS"),
}
# spark-submit sets it for the program that it starts.
_GATEWAY = "PYSPARK_GATEWAY_PORT"


def chosen(name: str, address: str | None, workers: int | None, environ: Mapping[str, str]) -> Engine:
    """The engine of that name, one of KINDS.

    Args:
        name: A key of KINDS.
        address: The address of a cluster; None takes that of the environment, or this machine.
        workers: How many parts are scored at a time; None leaves it to the engine.
        environ: Environment variables.

    Raises:
        ServingError: Its library is not installed.
    """
    kind = KINDS[name]
    if address is None and name == "spark" and _GATEWAY in environ:
        address = "submitted"
    try:
        make = getattr(import_module(kind.module), kind.attribute)
        engine: Engine = make(address or environ.get(kind.variable) or None, workers)
        return engine
    except ModuleNotFoundError as error:
        raise ServingError(
            f"the engine {name} needs {error.name}: pip install 'unpickled[{name}]'"
        ) from error
