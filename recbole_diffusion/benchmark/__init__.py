"""Many models and seeds under one protocol: what is run, what is kept, what is reported."""
