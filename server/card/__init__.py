"""The card of a model, drawn: one page that needs no other file."""
