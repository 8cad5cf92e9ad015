"""The layers of WSGI around the application, from the innermost to the outermost.

A layer exists only where it is configured, so that a request pays for nothing else.
"""

from collections.abc import Callable
from typing import cast

from unpickled.server.serve.accesslog import AccessLog
from unpickled.server.serve.cors import Cors
from unpickled.server.serve.fastpath import Application, Environ, fast_path
from unpickled.server.serve.forwarded import Forwarded
from unpickled.server.serve.guard import guarded
from unpickled.server.serve.hosts import Hosts
from unpickled.server.serve.prefix import Prefix
from unpickled.server.serve.requestid import identified
from unpickled.server.serve.tracing import traced
from unpickled.server.service import Service


def layered(
    application: object,
    service: Service,
    hosts: Hosts,
    rule: Callable[[Environ], str],
    announces_length: bool = True,
) -> Application:
    """The application within its layers.

    Args:
        application: Answers every request, those of the fast path included.
        service: The settings, and what the layers share.
        hosts: Tells which Host headers are right.
        rule: The pattern of a request's path, for traces.
        announces_length: See fast_path.
    """
    config, layer = service.config, cast(Application, application)
    if config.traffic.fast_path:
        layer = fast_path(layer, service.routes, hosts.known, announces_length)
    if service.callers is not None:
        health = config.traffic.health_route
        layer = guarded(layer, service.callers, service.routes, service.block, health)
    if config.traffic.cors_origins:
        layer = Cors(layer, config.traffic.cors_origins)
    if config.listening.root_path:
        layer = Prefix(layer, config.listening.root_path)
    if config.listening.forwarded_allow_ips:
        layer = Forwarded(layer, config.listening.forwarded_allow_ips)
    layer = identified(layer, always=config.observing.access_log)
    if service.traces is not None:
        layer = traced(layer, service.traces, config.observing.trace_ratio, rule)
    if config.observing.access_log:
        layer = AccessLog(layer, service.block)
    return layer
