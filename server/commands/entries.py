"""The entries of serve and models in a command line: neither is imported before it is used."""

from unpickled.server.console import Later

SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)
