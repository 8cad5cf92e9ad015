"""The payload log of a batch job: its rows and answers, as those of requests, with ids for their truth."""
