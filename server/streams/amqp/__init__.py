"""Queues of RabbitMQ, over AMQP 0-9-1."""
