"""The life of a model in service: its settings, its versions on disk, its deployment and its history."""
