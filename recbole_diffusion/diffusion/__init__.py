"""The mathematics of diffusion: torch and numpy only, nothing of RecBole."""
