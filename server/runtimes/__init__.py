"""Other runtimes than this process's own, which answer the rows of a model file for comparison."""
