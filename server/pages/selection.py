"""The models that a page is asked about: all, one by its name, or some of very many."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message import query
from unpickled.server.message.answer import Environ
from unpickled.server.pages.page import Parameter

MODEL = Parameter("model", "the name of the only model to show", "text")
AFTER = Parameter("after", "the name of a model: those behind it are shown, in the order of names", "text")
LIMIT = Parameter("limit", "the most models to show", "count")


class Selection(Struct, frozen=True):
    """Names of models, and the deployments of those in memory; ``after`` is the last where others follow."""

    names: Sequence[str]
    deployments: Mapping[str, Deployment]
    after: str | None = None


def selected(repository: Repository, environ: Environ, most: int | None = None) -> Selection:
    """The models that the query asks for, and of those at most ``most`` unless it has a limit of its own.

    Raises:
        UnknownModel: There is no model of the name that it asks for.
        InvalidInput: Its limit is no number from 1 on.
    """
    name = query.given(environ, MODEL.name)
    if name is not None:
        return Selection([name], {name: repository.deployment(name)})
    after, limit = query.given(environ, AFTER.name), query.count(environ, LIMIT.name) or most
    deployments = repository.deployments
    names = [name for name in repository.names if after is None or name > after]
    chosen = names[:limit]
    return Selection(
        chosen,
        {name: deployments[name] for name in chosen if name in deployments},
        chosen[-1] if len(chosen) < len(names) else None,
    )
