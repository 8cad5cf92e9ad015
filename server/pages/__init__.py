"""Every route but those of predictions: documents for programs, and pages for people."""
