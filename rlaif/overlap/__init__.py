"""What texts have in common."""
