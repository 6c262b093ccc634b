"""What is measured beside RecBole's metrics, and how."""
