"""The truth that clients report later: taken, kept, and joined with the predictions it is about."""
