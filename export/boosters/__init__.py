"""Boosted trees of other libraries, read from each library's own dump: none of them is imported here."""
