"""Networks and models."""
