"""What Locust sends, when, and whether the answers are right."""
