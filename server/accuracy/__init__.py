"""How right predictions were: counts of rows whose truth is known, and the figures made of them."""
