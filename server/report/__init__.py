"""The report about one model in one window: the members of every such document, and its page for people."""
