"""The judge between a champion and its challenger: it may look as often as it likes, and is not misled by that."""
