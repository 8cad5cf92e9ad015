"""Simulated comparisons that somebody looks at again and again: how often they mislead."""
