"""One model: the features it takes, the session that runs it, and the answers it gives."""
