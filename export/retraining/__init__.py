"""Training again on logged rows and their truth, and judging the result before it is written."""
