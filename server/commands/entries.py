"""The entries of the commands of the server in a command line: none is imported before it is used."""

from unpickled.server.console import Later

SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
CHECK = Later(
    "unpickled.server.commands.check",
    "check",
    "server",
    "Check that a model file answers its golden rows as the pipeline did.",
    anywhere=True,
)
CONSUME = Later(
    "unpickled.server.commands.consume",
    "consume",
    "server",
    "Answer the messages of Redis, Kafka, NATS or RabbitMQ.",
)
MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)
KEYS = Later(
    "unpickled.server.commands.keys", "keys", "server", "Make, list and revoke the API keys of callers."
)
PULL = Later(
    "unpickled.server.commands.pull",
    "pull",
    "server",
    "Fetch models from elsewhere: object stores, web servers, MLflow, OCI registries.",
)
SIGN = Later(
    "unpickled.server.commands.sign",
    "sign",
    "signing",
    "Sign versions of models, so that servers can tell who made them.",
    anywhere=True,
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
    anywhere=True,
)
EXPLAIN = Later(
    "unpickled.server.commands.explain",
    "explain",
    "server",
    "Explain a prediction by the features of its row.",
    anywhere=True,
)
PREDICT = Later(
    "unpickled.server.commands.predict",
    "predict",
    "server",
    "Score the rows of files or of a pipe: Parquet, CSV, JSON Lines.",
    anywhere=True,
)
LOG = Later(
    "unpickled.server.commands.payloads",
    "log",
    "server",
    "List the files of the payload log, and take rows out of them.",
)
