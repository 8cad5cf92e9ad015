"""The entries of serve, models and keys in a command line: none is imported before it is used."""

from unpickled.server.console import Later

SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)
KEYS = Later(
    "unpickled.server.commands.keys", "keys", "server", "Make, list and revoke the API keys of callers."
)
