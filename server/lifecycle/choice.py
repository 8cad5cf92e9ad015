"""The version of a model that a request names: by a number, by a label, or else the main one."""

from unpickled.server.errors import NotReady, UnknownModel
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.lifecycle.versions import Served
from unpickled.server.quote import listed


def chosen(deployment: Deployment, version: str | None = None, label: str | None = None) -> Served:
    """The version that a request names, of a model that serves one.

    Args:
        deployment: That of the model; it has versions.
        version: A number, or a label in a number's place.
        label: A label.

    Raises:
        UnknownModel: There is no such version or label.
        NotReady: The version is there, and is refused.
    """
    if version is not None:
        return _version(deployment, version)
    return deployment.main if label is None else _labelled(deployment, label)


def _version(deployment: Deployment, version: str) -> Served:
    if version in deployment.labels:
        return _labelled(deployment, version)
    name = deployment.name
    number = int(version) if VERSION.fullmatch(version) else -1
    if number in deployment.versions:
        return deployment.versions[number]
    if number in deployment.refused:
        raise NotReady(
            f"version {version} of model {name!r} is not served: {deployment.refused[number]}",
            model=name,
            version=version,
        )
    raise UnknownModel(
        f"model {name!r} has no version {version!r} here: {_served(deployment)}",
        model=name,
        version=version,
    )


def _labelled(deployment: Deployment, label: str) -> Served:
    if label not in deployment.labels:
        raise UnknownModel(
            f"model {deployment.name!r} has no label {label!r}: "
            f"its labels are {listed(deployment.labels) or 'none'}",
            model=deployment.name,
            label=label,
        )
    return deployment.versions[deployment.labels[label]]


def _served(deployment: Deployment) -> str:
    numbers = [str(number) for number in deployment.versions]
    return f"versions {listed(numbers)} are served" if len(numbers) > 1 else f"version {numbers[0]} is served"
