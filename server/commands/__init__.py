"""The commands that serve models, and that list and change which versions are served."""

from unpickled.server.console import Later

# Imported when they are used: their help and their errors wait for no library.
SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)
