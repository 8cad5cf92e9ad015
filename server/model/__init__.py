"""One model: what it takes, and the session that runs it."""
