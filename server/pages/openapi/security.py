"""The part of the OpenAPI document about keys, tokens and rate limits, where the settings ask for them.

https://spec.openapis.org/oas/v3.1.1.html#security-scheme-object
"""

from collections.abc import Iterable, Mapping
from typing import Any

from unpickled.server.config import Config
from unpickled.server.serve.guard import OPEN

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, or a token"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REFUSED, _TOO_MANY = (401, 403), (429,)


def secured(document: dict[str, Any], config: Config) -> dict[str, Any]:
    """The same document, with what a caller has to send and how it may be refused."""
    access, probes = config.access, OPEN | {config.traffic.health_route}
    keys = access.api_keys is not None or access.jwks is not None
    # Keys may have limits of their own.
    statuses = (*_REFUSED, *_TOO_MANY) if keys else _TOO_MANY if access.rate_limit is not None else ()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path in probes and method == "get":
                operation.update({"security": []} if keys else {})
            else:
                operation["responses"] |= _responses(statuses, operation["responses"])
    if keys:
        schemes: Mapping[str, Any] = {"bearer": _SCHEMES["bearer"]} | (
            {"header": _SCHEMES["header"]} if access.api_keys is not None else {}
        )
        document["security"] = [{name: []} for name in schemes]
        document["components"]["securitySchemes"] = dict(schemes)
    return document


def _responses(statuses: Iterable[int], present: Mapping[str, Any]) -> dict[str, Any]:
    references = {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}
    return {status: reference for status, reference in references.items() if status not in present}
