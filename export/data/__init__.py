"""Tables: reading them from files, finding the types of their columns, and giving them to pipelines."""
