"""What is counted, by each process for itself, and told for all of them."""
