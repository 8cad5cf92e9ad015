"""A server under everything at once for minutes: every protocol, wrong requests, changes and kills."""
