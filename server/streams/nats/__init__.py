"""Subjects of NATS JetStream."""
