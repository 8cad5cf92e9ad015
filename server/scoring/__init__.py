"""Rows by the thousands, of which some may be refused: the others are answered."""
