"""The payload log: predicted rows and their answers, as files of typed columns."""
