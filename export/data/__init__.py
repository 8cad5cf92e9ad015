"""Tables: read from files, typed, and given to pipelines."""
