"""Bootstrap intervals and pairings."""
