"""Files that say who may ask, as they last were right: for a process that starts while they are wrong."""


class Copies:
    """Keeps nothing: a process that has no others beside it starts with right files, or not at all."""

    def save(self, name: str, content: bytes) -> None:
        """Keep a content that was found right, in place of the one before."""

    def saved(self, name: str) -> bytes | None:
        """The last content of that name; None where there is none."""
        return None


# Names: the file of API keys, and the JWK Set.
KEYS, SIGNERS = "keys", "signers"
