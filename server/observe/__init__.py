"""What is counted and compared after a request has been answered."""
