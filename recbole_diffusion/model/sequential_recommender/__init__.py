"""Models that read the sequence of a user's interactions."""
