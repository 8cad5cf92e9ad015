"""The requests that Locust sends, their times, and the check of the answers."""
