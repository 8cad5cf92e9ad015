"""The books of the payload log: each row that was answered is in a file once, or counted as missing."""
