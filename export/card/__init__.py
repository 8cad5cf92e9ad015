"""The card of a model: its figures, measured on rows with their true answers by the graph that is served."""
