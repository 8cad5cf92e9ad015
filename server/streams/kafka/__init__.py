"""Topics of Kafka, by librdkafka."""
