"""Counting requests, comparing answers, and the metrics made of both."""
