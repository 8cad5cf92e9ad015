"""Streams of Redis, with a group of members that read one."""
