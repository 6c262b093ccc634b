"""Models that rank for a user as a whole: general recommenders in RecBole's sense."""
