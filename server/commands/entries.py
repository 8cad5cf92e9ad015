"""The entries of the commands of the server in a command line: none is imported before it is used."""

from unpickled.server.console import Later

SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
CONSUME = Later(
    "unpickled.server.commands.consume",
    "consume",
    "server",
    "Answer the messages of a broker, such as Redis Streams.",
)
MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)
KEYS = Later(
    "unpickled.server.commands.keys", "keys", "server", "Make, list and revoke the API keys of callers."
)
DRIFT = Later(
    "unpickled.server.commands.drift",
    "drift",
    "server",
    "Show how far a model has moved from its training rows.",
)
ACCURACY = Later(
    "unpickled.server.commands.accuracy",
    "accuracy",
    "server",
    "Show how right a model was, by the truth that was reported.",
)
JUDGE = Later(
    "unpickled.server.commands.judge",
    "judge",
    "server",
    "Decide between a champion and its challenger, and move traffic.",
)
AB = Later(
    "unpickled.server.commands.ab",
    "ab",
    "server",
    "Compare a canary with the stable version by outcome.",
)
REPORT = Later(
    "unpickled.server.commands.report",
    "report",
    "server",
    "Write a page about a version: its data, quality, importances, parity and origin.",
)
EXPLAIN = Later(
    "unpickled.server.commands.explain",
    "explain",
    "server",
    "Explain a prediction by the features of its row.",
)
LOG = Later(
    "unpickled.server.commands.payloads",
    "log",
    "server",
    "List the files of the payload log, and take rows out of them.",
)
