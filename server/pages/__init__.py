"""Every route but predictions: documents for programs, and pages for people."""
