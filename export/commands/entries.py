"""The entries of the commands that export in a command line: none is imported before it is used."""

from unpickled.server.console import Later

TRAIN = Later(
    "unpickled.export.commands.train",
    "train",
    "export",
    "Fit a model on a table and export it as ONNX.",
    anywhere=True,
)
RETRAIN = Later(
    "unpickled.export.commands.retrain",
    "retrain",
    "export",
    "Train again on the payload log and its truth, and publish what is better.",
)
CONVERT = Later(
    "unpickled.export.commands.convert",
    "convert",
    "export",
    "Export a pipeline you fitted and saved with joblib.",
    anywhere=True,
)
