"""Servers under more load than they can carry: an open loop, its steps, and their figures."""
