"""What is measured, in which order, with what."""
