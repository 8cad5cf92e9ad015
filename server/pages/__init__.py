"""What is not predicting: what is served, how it is, and pages for people."""
