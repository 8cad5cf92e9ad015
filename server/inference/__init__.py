"""From checked rows to labels and scores."""
