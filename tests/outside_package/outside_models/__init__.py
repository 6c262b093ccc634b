"""A package with a model for recbole-diffusion, as somebody else would publish it."""
